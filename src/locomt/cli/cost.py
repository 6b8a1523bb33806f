"""`locomt cost`: what a recipe's model and its baselines cost, before anything is trained."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locomt.cost import Guarantee
    from locomt.cost.measured import Measurement
    from locomt.nn.config import FusionConfig
    from locomt.train.recipe import Recipe

HELP = "say what a model costs beside its baselines: GFLOPs, parameters, memory, and the guarantee's four numbers"
EXAMPLE = "locomt cost clips.yaml --batch 8 --model.fusion_layers 6 --measure"
TAKES_OVERRIDES = True

GIGA, MIB, TIB = 1e9, 2**20, 2**40
MACHINE = 64 * TIB
"""More memory than any one machine has."""
MOST_SAMPLES = 2**40
SECONDS = 2.0  # of timed rounds, for the forward pass and for the training step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="the recipe, a YAML file")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="samples for memory and time (1)")
    parser.add_argument("--measure", action="store_true", help="time forward and training step on this device too")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    if args.batch < 1:
        raise ValueError(f"--batch: expected 1 or more samples, got {args.batch}")
    if args.batch > MOST_SAMPLES:
        raise ValueError(f"--batch: expected at most {MOST_SAMPLES:,} samples, got more: that fits no machine")
    from locomt.cli.output import print_json
    from locomt.cost import guarantee, variants
    from locomt.train.recipe_file import load_recipe

    recipe = load_recipe(args.config, overrides)
    config = _fusion_config(recipe)
    models = variants(config)
    bounds = guarantee(models["locomt"])
    document = _document(models, bounds, args.batch)
    beyond = [model["name"] for model in document["models"] if not model["fits_a_machine"]]
    if args.measure:
        if beyond:
            raise ValueError(f"--measure: {_beyond(document, beyond)}; measure a smaller model or --batch")
        document["measured"] = _measure(recipe, models, args.batch)
        for model in document["models"]:
            model |= document["measured"]["models"][model["name"]]
        del document["measured"]["models"]
    if args.json:
        print_json(document)
    else:
        _show(document, models["locomt"], bounds)
        if beyond:
            print(f"NOTE: {_beyond(document, beyond)}")
    return 0


def _bytes(model: dict[str, Any]) -> int:
    """Of the weights in float32 and the activations of a training step."""
    return 4 * int(model["parameters"]) + int(model["activation_bytes"])


def _beyond(document: dict[str, Any], names: list[str]) -> str:
    needs = [f"{_bytes(model) / TIB:,.0f} TiB" for model in document["models"] if model["name"] in names]
    takes = ", ".join(f"{name} {need}" for name, need in zip(names, needs, strict=True))
    return f"a training step of batch {document['batch']} fits no machine: weights and activations take {takes}"


def _fusion_config(recipe: Recipe) -> FusionConfig:
    try:
        return recipe.fusion_config()
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise ValueError(
            f"{reason}; to do without it, name the labels, or a file of them: --data.labels '[first, second]'"
        ) from None


def _document(models: dict[str, FusionConfig], bounds: Guarantee, batch: int) -> dict[str, Any]:
    from locomt.cost import CONVENTION, activation_bytes, parameters, token_counts

    every, computed = (_flops(models, everything) for everything in (True, False))
    total = bounds.total
    document: dict[str, Any] = {
        "tokens": token_counts(models["locomt"]),
        "convention": CONVENTION,
        "batch": batch,
        "guarantee": {
            "locomt": total.locomt,
            "self": total.self,
            "bottle": total.bottle,
            "multi": total.multi,
            "unit": "score pairs of one sample, all heads of all fusion layers",
            "bottlenecks": bounds.bottlenecks,
            "holds": bounds.holds,
            "holds_up_to": bounds.holds_up_to,
            "broken": bounds.broken,
            "layers": [vars(layer) for layer in bounds.layers],
        },
        "models": [
            {
                "name": name,
                **every[name],
                "computed": computed[name],
                "parameters": parameters(config),
                "activation_bytes": activation_bytes(config, batch=batch),
            }
            for name, config in models.items()
        ],
    }
    for model in document["models"]:
        model["fits_a_machine"] = _bytes(model) <= MACHINE
    return document


def _flops(models: dict[str, FusionConfig], everything: bool) -> dict[str, dict[str, float]]:
    """Of all rows of all layers, as the paper counts, or of what is computed."""
    from locomt.cost import flops

    counted = {name: flops(config, everything=everything) for name, config in models.items()}
    dense = counted["multiall"]
    return {
        name: {
            "gflops": f.total / GIGA,
            "attention_gflops": f.attention / GIGA,
            "linear_gflops": f.linear / GIGA,
            "embedding_gflops": f.embedding / GIGA,
            "head_gflops": f.head / GIGA,
            "gmacs": f.total / 2 / GIGA,
            "training_gflops": flops(models[name], backward=True, everything=everything).total / GIGA,
            "gflops_vs_multiall": f.total / dense.total,
            "attention_vs_multiall": f.attention / dense.attention,
        }
        for name, f in counted.items()
    }


def _measure(recipe: Recipe, configs: dict[str, FusionConfig], batch: int) -> dict[str, Any]:
    """Times and peaks of every model on this device, and what device that is."""
    import torch

    from locomt.cli.output import console
    from locomt.cost.measured import measure
    from locomt.nn.model import FusionModel

    wanted = recipe.train.accelerator
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.accelerator is cuda, but torch finds no CUDA device here; pass --train.accelerator cpu")
    device = "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
    autocast = torch.bfloat16 if recipe.train.precision == "bf16-mixed" else None
    console().print(f"measuring {len(configs)} models on {device}, forward and training step ...")
    models = {name: FusionModel(config).to(device) for name, config in configs.items()}
    inputs = models["locomt"].example_inputs(batch)
    results: dict[str, dict[str, Any]] = {name: {} for name in models}
    for key, training in (("forward", False), ("training_step", True)):
        try:
            found = measure(models, inputs, training=training, autocast=autocast, seconds=SECONDS)
        except torch.OutOfMemoryError:
            raise ValueError(f"{device} has too little memory for batch {batch}; pass a smaller --batch") from None
        for name, result in found.items():
            results[name][key] = _measured(result, found["multiall"])
    for runs in results.values():
        runs["latency_ms"] = runs["forward"]["latency_ms"]
        runs["peak_memory_bytes"] = runs["training_step"]["peak_memory_bytes"]
    where = torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    return {"device": where, "precision": recipe.train.precision, "torch": torch.__version__, "models": results}


def _measured(result: Measurement, dense: Measurement) -> dict[str, Any]:
    return {
        **vars(result),
        "latency_vs_multiall": result.latency_ms / dense.latency_ms,
        "memory_vs_multiall": result.peak_memory_bytes / dense.peak_memory_bytes,
    }


def _show(document: dict[str, Any], config: FusionConfig, bounds: Guarantee) -> None:
    from locomt.cli.output import print_table

    print(f"tokens: {', '.join(f'{name} {count}' for name, count in document['tokens'].items())}")
    print(f"convention: {document['convention']}")
    figures = ("model", "GFLOPs", "attention", "linear", "rest", "GMACs", "vs multiall")
    print_table(
        "Cost of all rows, as the paper counts",
        (*figures, "parameters"),
        [(model["name"], *_parts(model), f"{model['parameters']:,}") for model in document["models"]],
    )
    print_table(
        "Computed: what somebody reads",
        (*figures, "vs all rows", f"activations, MiB, batch {document['batch']}"),
        [
            (
                model["name"],
                *_parts(model["computed"]),
                _change(model["computed"]["gflops"] / model["gflops"]),
                _figure(model["activation_bytes"] / MIB),
            )
            for model in document["models"]
        ],
    )
    _show_guarantee(config, bounds)
    if "measured" in document:
        _show_measured(document)


def _parts(cost: dict[str, Any]) -> tuple[str, ...]:
    return (
        *map(_figure, (cost["gflops"], cost["attention_gflops"], cost["linear_gflops"])),
        _figure(cost["embedding_gflops"] + cost["head_gflops"]),
        _figure(cost["gmacs"]),
        _change(cost["gflops_vs_multiall"]),
    )


def _show_guarantee(config: FusionConfig, bounds: Guarantee) -> None:
    from locomt.cli.output import print_table

    table = config.view_table()
    assert table is not None
    first = config.num_layers - config.fusion_layers + 1
    rows = [
        (number, str(views), layer)
        for number, (views, layer) in enumerate(zip(table.layers, bounds.layers, strict=True), start=first)
    ]
    print_table(
        "The guarantee: score pairs, all heads",
        ("layer", "views", "LoCoMT", "self", f"bottle, B = {bounds.bottlenecks}", "multi"),
        [
            (layer, views, *(f"{number:,}" for number in vars(pairs).values()))
            for layer, views, pairs in [*rows, ("all", "", bounds.total)]
        ],
    )
    if bounds.holds:
        print("C_LoCoMT <= C_self < C_bottle < C_multi holds", end="; ")
        print(f"C_bottle < C_multi does up to B = {bounds.holds_up_to} at these token counts")
    for sentence in bounds.broken:
        print(f"BROKEN: {sentence}")


def _show_measured(document: dict[str, Any]) -> None:
    from locomt.cli.output import print_table

    found = document["measured"]
    print_table(
        f"Measured on {found['device']}, precision {found['precision']}, batch {document['batch']}",
        (
            *("model", "computed vs multiall", "forward, ms", "vs multiall", "peak, MiB"),
            *("training step, ms", "vs multiall", "peak, MiB"),
        ),
        [
            (
                model["name"],
                _change(model["computed"]["gflops_vs_multiall"]),
                *(
                    cell
                    for run in (model["forward"], model["training_step"])
                    for cell in (
                        _figure(run["latency_ms"]),
                        _change(run["latency_vs_multiall"]),
                        _figure(run["peak_memory_bytes"] / MIB),
                    )
                ),
            )
            for model in document["models"]
        ],
    )


def _figure(value: float) -> str:
    """Four figures or more: 0.155, 12.77, 420.8, 1,397.4."""
    return f"{value:,.{3 if value < 10 else 2 if value < 100 else 1}f}"


def _change(ratio: float) -> str:
    """A ratio to Multiall as what it saves or adds."""
    return f"{100 * (ratio - 1):+.1f}%"
