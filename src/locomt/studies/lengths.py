"""The FLOPs, time and memory of self, cross and full attention as the lengths of two modalities diverge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from locomt import LayerViews, TokenLayout, view_attention
from locomt.cost.measured import peak_bytes
from locomt.cost.timing import paired_seconds
from locomt.files import to_json, write_text
from locomt.studies import read_results
from locomt.studies.arms import RESULTS, machine
from locomt.studies.page import Document, head, table
from locomt.studies.plan import Plan, StudyError
from locomt.studies.plots import drawing
from locomt.train.runs import torch_threads
from locomt.views import View

NAME = "lengths"
TITLE = "Lengths that diverge"
QUESTION = (
    "How does cost fall as one modality becomes longer than the other, at the same number of tokens in all (the "
    "paper's next check of length sensitivity)? By the closed form, self less cross is (L1 - L2)² score pairs a head."
)
RATIOS = (1, 2, 4, 8, 16, 32, 64)
VIEWS = {"self": "self", "cross": "a~b", "multi": "multi"}
WIDTH = 64
LESS = "self less cross"
COLOURS = {"self": "#3f8fd0", "cross": "#e0662f", LESS: "#2a9d78"}
MEASURES = {"counted_flops": "FLOPs", "forward_seconds": "forward time", "forward_backward_seconds": "with backward"}
STYLES = {"score_pairs": ":", "counted_flops": "x", "forward_seconds": "o-", "forward_backward_seconds": "s--"}


def run(plan: Plan) -> dict[str, Any]:
    """Count the FLOPs of every ratio by torch's counter, and time its three views in turns. Nothing is trained.

    This runs on a CUDA device if there is one, else on the CPU. `results.json` keeps its entries of other devices.

    Raises:
        StudyError: the plan names data sets, seeds or fields of a recipe; this study has none of them.
    """
    if plan.data_sets or plan.seeds is not None or plan.overrides:
        raise StudyError("study lengths trains nothing: it takes no --data-sets, --seeds or fields of a recipe")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    total = 4160 if plan.full else 520
    # In the cheapest case a GPU must have enough work; otherwise only kernel launches are timed.
    batch, heads = (32, 12) if device == "cuda" and plan.full else (1, 4)
    made = machine()
    own: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU, threads {plan.runner.threads}",
        "dtype": str(dtype).removeprefix("torch."),
        "batch": batch,
        "heads": heads,
        "cases": [],
        **{name: made[name] for name in ("date", "torch", "python")},
    }
    document: dict[str, Any] = {"study": NAME, "command": plan.command, "full": plan.full, **made, "width": WIDTH}
    document |= {"total": total, "devices": _others(plan.out / RESULTS, own["device"], document | {"total": total})}
    document["devices"].append(own)
    with torch_threads(plan.runner.threads):
        for ratio in RATIOS:
            own["cases"].append(_case(ratio, total, (batch, heads), device, dtype, seconds=2.0 if plan.full else 0.1))
            _keep(plan, document)
    return document


def _others(path: Path, device: str, document: Document) -> list[Document]:
    """Entries of other devices from earlier results of the same size."""
    if not path.is_file():
        return []
    before = read_results(path, NAME)
    if any(before[name] != document[name] for name in ("full", "total", "width")):
        return []
    return [entry for entry in before["devices"] if entry["device"] != device]


def _keep(plan: Plan, document: dict[str, Any]) -> None:
    document["device"] = " and ".join(entry["device"] for entry in document["devices"])
    document["complete"] = all(len(entry["cases"]) == len(RATIOS) for entry in document["devices"])
    write_text(plan.out / RESULTS, to_json(document, indent=1) + "\n")


def lengths_of(ratio: int, total: int) -> dict[str, int]:
    """Split `total` tokens so that a has `ratio` times as many as b, rounded to whole tokens."""
    short = max(1, round(total / (ratio + 1)))
    return {"a": total - short, "b": short}


def _case(
    ratio: int, total: int, size: tuple[int, int], device: str, dtype: torch.dtype, *, seconds: float
) -> dict[str, Any]:
    """Measure one ratio; `size` is (batch, heads)."""
    batch, heads = size
    lengths = lengths_of(ratio, total)
    layout = TokenLayout(lengths)
    generator = torch.Generator(device).manual_seed(ratio)
    joint = torch.randn(batch, total, 3, heads, WIDTH, generator=generator, device=device, dtype=dtype)
    q, k, v = (t.transpose(1, 2).requires_grad_() for t in joint.unbind(2))
    layers = {name: LayerViews(layout.modalities, (View(text),) * heads) for name, text in VIEWS.items()}

    def forward(name: str) -> Any:
        return lambda: view_attention(q.detach(), k.detach(), v.detach(), layout, layers[name])

    def both(name: str) -> Any:
        return lambda: torch.autograd.grad(view_attention(q, k, v, layout, layers[name]), (q, k, v), gradient)

    gradient = torch.randn(batch, heads, total, WIDTH, generator=generator, device=device, dtype=dtype)
    counted = {}
    for name in VIEWS:
        with FlopCounterMode(display=False) as counter:
            forward(name)()
        counted[name] = counter.get_total_flops()
    return {
        "ratio": ratio,
        "lengths": lengths,
        "score_pairs": {name: View(text).score_pairs(lengths) for name, text in VIEWS.items()},
        "counted_flops": counted,
        "forward_seconds": paired_seconds({name: forward(name) for name in VIEWS}, device, seconds),
        "forward_backward_seconds": paired_seconds({name: both(name) for name in VIEWS}, device, seconds),
        "peak_bytes": {name: peak_bytes(both(name), torch.device(device)) for name in VIEWS},
    }


def gap(entry: Document, case: Document) -> float:
    """Counted self less cross in score pairs of a head, which take 4 d FLOPs. The closed form is (L1 - L2)^2."""
    counted = case["counted_flops"]
    each: int = entry["batch"] * entry["heads"] * 4 * WIDTH
    return float((counted["self"] - counted["cross"]) / each)


def _off(entry: Document, measure: str) -> float:
    """How far (self - cross) / multi is from (L1 - L2)^2 / (L1 + L2)^2 at most, over all ratios."""
    return max(abs(_share(case, measure, LESS) - _share(case, "score_pairs", LESS)) for case in entry["cases"])


def _memory(entry: Document) -> str:
    """Describe peak memory over all ratios, and the memory that stored scores would take."""
    case = entry["cases"][-1]
    scores = case["score_pairs"]["multi"] * entry["batch"] * entry["heads"] * getattr(torch, entry["dtype"]).itemsize
    shares = {view: [_share(case, "peak_bytes", view) for case in entry["cases"]] for view in ("self", "cross")}
    told = {view: sorted({f"{min(own):.3f}", f"{max(own):.3f}"}) for view, own in shares.items()}
    return (
        f"Peak memory is {' to '.join(told['self'])} of full attention's with self heads and "
        f"{' to '.join(told['cross'])} with cross heads; full attention's scores, if they were kept, would take "
        f"{scores / case['peak_bytes']['multi']:.1f} times its peak."
    )


def summary(document: Document) -> str:
    return " ".join(_answer(entry) for entry in document["devices"])


def _answer(entry: Document) -> str:
    cases = entry["cases"]
    first, last = cases[0], cases[-1]
    off = max(abs(gap(entry, case) - (case["lengths"]["a"] - case["lengths"]["b"]) ** 2) for case in cases)
    law = "exactly what the closed form says" if off == 0 else f"up to {off:g} score pairs off the closed form"
    return (
        f"**{entry['device']}**: self less cross, counted, is {law} at every ratio. A cross head takes "
        f"{_share(first, 'counted_flops', 'cross'):.2f} of full attention's FLOPs at {first['ratio']}:1 and "
        f"{_share(last, 'counted_flops', 'cross'):.3f} at {last['ratio']}:1; in time that is "
        f"{_share(first, 'forward_seconds', 'cross'):.2f} and {_share(last, 'forward_seconds', 'cross'):.3f} forward, "
        f"{_share(first, 'forward_backward_seconds', 'cross'):.2f} and "
        f"{_share(last, 'forward_backward_seconds', 'cross'):.3f} with the backward pass. Self heads go the other way: "
        f"{_share(first, 'counted_flops', 'self'):.2f} to {_share(last, 'counted_flops', 'self'):.2f} of the FLOPs, "
        f"{_share(first, 'forward_backward_seconds', 'self'):.2f} to "
        f"{_share(last, 'forward_backward_seconds', 'self'):.2f} of the time with the backward pass. In time, self "
        f"less cross, of full attention's, is at most {_off(entry, 'forward_seconds'):.3f} from the law's (L1 - L2)² / "
        f"(L1 + L2)² forward, {_off(entry, 'forward_backward_seconds'):.3f} with the backward pass. {_memory(entry)}"
    )


def page(document: Document) -> str:
    lines = head(document, TITLE, QUESTION)
    lines += ["", "## Answer", "", summary(document), "", f"![cost against the ratio of lengths]({NAME}.svg)", ""]
    lines += [
        f"{document['total']} tokens, heads of width {document['width']}. Times are medians of runs in turns, over "
        "that of attention over all tokens in the same turns. All are over those of full attention (`multi`). "
        f"FLOPs: {document['convention']}.",
        "",
        "Peak memory is the most that forward and backward hold at any one moment on top of queries, keys, values and "
        "the output's gradient: the output, the gradients of queries, keys and values, and what kernels work in. All "
        "of it grows with the tokens and not with the score pairs, since no kernel keeps scores: views save work, and "
        "hardly any memory. The fused kernels of a GPU work in as much for any view; on a CPU each range of queries is "
        "a call, whose results are held until they are copied, and fewer tokens a call are less to hold.",
    ]
    for entry in document["devices"]:
        made = (
            f"batch {entry['batch']}, {entry['heads']} heads, {entry['dtype']}; {entry['date']}, torch {entry['torch']}"
        )
        lines += ["", f"## {entry['device']}", "", f"{made}.", "", *_rows(entry), "", *_differences(entry)]
    return "\n".join(lines) + "\n"


def _rows(entry: Document) -> list[str]:
    rows = [
        (
            f"{case['ratio']}:1",
            f"{case['lengths']['a']} + {case['lengths']['b']}",
            *(
                " / ".join(f"{_share(case, measure, view):.3f}" for view in ("self", "cross"))
                for measure in (*MEASURES, "peak_bytes")
            ),
        )
        for case in entry["cases"]
    ]
    return table(("ratio", "tokens", "FLOPs, self / cross", "forward time", "with backward", "peak memory"), rows)


def _differences(entry: Document) -> list[str]:
    measures = ("score_pairs", *MEASURES)
    rows = [
        (f"{case['ratio']}:1", *(f"{_share(case, measure, LESS):.3f}" for measure in measures))
        for case in entry["cases"]
    ]
    return table((f"{LESS}, ratio", "(L1 - L2)² / (L1 + L2)²", *MEASURES.values()), rows)


def _share(case: Document, measure: str, view: str) -> float:
    """A measure of a view, or of `LESS`, divided by that of `multi`."""
    found = case[measure]
    own = found["self"] - found["cross"] if view == LESS else found[view]
    return float(own / found["multi"])


def figures(document: Document) -> dict[str, str]:
    """Draw a row of panels for each device: FLOPs and time beside the closed form, then peak memory."""
    found: dict[str, str] = {}
    names = {"score_pairs": "closed form", **MEASURES}
    panels = (
        ("FLOPs and time", ("self", "cross"), STYLES),
        (LESS, (LESS,), STYLES),
        ("peak memory", ("self", "cross"), {"peak_bytes": "^-"}),
    )
    shown = [(entry, *panel) for entry in document["devices"] for panel in panels]
    with drawing(len(shown), found, NAME) as axes:
        for own, (entry, title, views, styles) in zip(axes, shown, strict=True):
            ratios = [case["ratio"] for case in entry["cases"]]
            for view in views:
                for measure, style in styles.items():
                    shares = [_share(case, measure, view) for case in entry["cases"]]
                    label = f"{view}, {names.get(measure, 'peak memory')}"
                    own.plot(ratios, shares, style, color=COLOURS[view], label=label, markersize=4)
            own.set_xscale("log", base=2)
            own.set_xticks(ratios, [f"{ratio}:1" for ratio in ratios])
            own.set_ylim(bottom=0)
            own.set_title(title)
            own.set_xlabel("ratio of lengths")
            if title == panels[0][0]:
                own.set_ylabel(f"{entry['device']}\nover attention over all tokens")
    return found
