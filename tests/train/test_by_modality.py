"""Each modality by itself in training: what the model answers to it, and what it counts for in the end."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from locomt.cost import activation_bytes
from locomt.cost.measured import saved_bytes
from locomt.nn import FeatureSpec, FusionConfig, FusionModel
from locomt.nn.model import Alone, Apart
from locomt.nn.readout import ReadOut, pooled
from locomt.tasks import TASKS
from locomt.train import Run, evaluate, fit, load_recipe
from locomt.train.by_modality import ByModality
from locomt.train.memory import alone_bytes
from locomt.train.run_directory import RunDirectory
from locomt.train.weighing import Weighing

SPECS = {"a": FeatureSpec(dim=5, max_length=4), "b": FeatureSpec(dim=3, max_length=6)}
FUSIONS = ("locomt", "selfall", "multiall", "mbt")


def model_of(fusion: str, **options: object) -> FusionModel:
    torch.manual_seed(0)
    sizes = {"dim": 16, "heads": 4, "depth": 2, "fusion_layers": 1, "num_outputs": 3}
    return FusionModel(FusionConfig(modalities=SPECS, fusion=fusion, **sizes, **options)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("padded", [False, True])
def test_alone_is_what_the_model_answers_with_the_others_missing(fusion: str, padded: bool) -> None:
    model = model_of(fusion)
    inputs = model.example_inputs(4)
    lengths = {"a": torch.tensor([4, 0, 2, 1]), "b": torch.tensor([6, 3, 0, 2])} if padded else None
    apart = model.apart(inputs, lengths)
    torch.testing.assert_close(model.logits(apart.reads), model(inputs, lengths))
    for name, answer in apart.alone.items():
        own = None if lengths is None else {name: lengths[name]}
        exact = model({name: inputs[name]}, own)
        if lengths is None:
            assert answer.samples is None
        else:
            assert answer.samples is not None
            assert answer.samples.tolist() == lengths[name].nonzero()[:, 0].tolist()
            exact = exact[answer.samples]
        torch.testing.assert_close(answer.logits, exact)


@pytest.mark.parametrize("options", [{"steps": ("a", "b")}, {"time_steps": 6}])
def test_alone_where_answers_belong_to_steps(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    specs = {"a": FeatureSpec(dim=5, max_length=6), "b": FeatureSpec(dim=3, max_length=6)}
    sizes = {"dim": 16, "heads": 4, "depth": 2, "fusion_layers": 1, "num_outputs": 3}
    model = FusionModel(FusionConfig(modalities=specs, **sizes, **options)).eval()  # type: ignore[arg-type]
    inputs = model.example_inputs(3)
    apart = model.apart(inputs)
    torch.testing.assert_close(model.logits(apart.reads), model(inputs))
    for name, answer in apart.alone.items():
        torch.testing.assert_close(answer.logits, model({name: inputs[name]}))


@pytest.mark.parametrize("options", [{}, {"steps": ("a", "b")}, {"steps": ("a",)}, {"time_steps": 6}])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("padded", [False, True])
def test_an_answer_apart_is_the_weighted_mean_of_those_to_each(
    fusion: str, padded: bool, options: dict[str, object]
) -> None:
    torch.manual_seed(0)
    specs = {"a": FeatureSpec(dim=5, max_length=6), "b": FeatureSpec(dim=3, max_length=6)}
    sizes = {"dim": 16, "heads": 4, "depth": 2, "fusion_layers": 1, "num_outputs": 3}
    model = FusionModel(FusionConfig(modalities=specs, fusion=fusion, **sizes, **options)).eval()  # type: ignore[arg-type]
    inputs, lengths = model.example_inputs(4), None
    if padded:
        lengths = {"a": torch.tensor([6, 2, 6, 0]), "b": torch.tensor([6, 0, 6, 4])}
        if len(model.config.read) == 1:  # every sample has something to read
            lengths["a"][3] = 3
    before = model.apart(inputs, lengths)
    model.set_answer({name: {"a": 1.6, "b": 0.4}[name] for name in model.config.read}, apart=True)
    found = model(inputs, lengths)
    for i in (0, 1, 2, 3):
        total, weights = torch.zeros_like(found[i]), 0.0
        for name, answer in before.alone.items():
            where = torch.arange(4) if answer.samples is None else answer.samples
            if i in where:
                total = total + model.config.shares[name] * answer.logits[where.tolist().index(i)]
                weights += model.config.shares[name]
        steps = min(count[i] for count in lengths.values() if count[i]) if padded and options else None
        torch.testing.assert_close(found[i][:steps], (total / weights)[:steps])
    changed = {name: inputs[name] + (name == "b") for name in inputs}
    if len(model.config.read) == 1:  # nothing of the other reaches it
        assert torch.equal(model(changed, lengths), found)


def test_an_answer_apart_is_kept_with_the_model(tmp_path: Path) -> None:
    model = model_of("locomt")
    model.set_answer({"a": 1.5, "b": 0.5}, apart=True)
    model.save_pretrained(tmp_path)
    again = FusionModel.from_pretrained(tmp_path)
    assert again.config.apart
    inputs = model.example_inputs(2)
    torch.testing.assert_close(again(inputs), model(inputs))
    assert again.config.untrained() == model_of("locomt").config


def test_shares_weigh_those_that_are_there() -> None:
    values = torch.randn(2, 3, 1, 4)
    real = torch.tensor([[True], [False], [True]])
    reads = {"a": ReadOut(values[0], None), "b": ReadOut(values[1], real)}
    mean = pooled(reads, {"a": 0.5, "b": 1.5})
    torch.testing.assert_close(mean[0], 0.25 * values[0, 0] + 0.75 * values[1, 0])
    torch.testing.assert_close(mean[1], values[0, 1])
    model = model_of("locomt")
    inputs = model.example_inputs(2)
    alone = model({"a": inputs["a"]})
    model.set_answer({"a": 1.0, "b": 0.5})
    torch.testing.assert_close(model({"a": inputs["a"]}), alone)
    assert not torch.equal(model(inputs), model_of("locomt")(inputs))


def test_shares_are_kept_with_the_model(tmp_path: Path) -> None:
    model = model_of("locomt")
    model.set_answer({"a": 1.75, "b": 0.25})
    model.save_pretrained(tmp_path)
    again = FusionModel.from_pretrained(tmp_path)
    assert again.config.shares == {"a": 1.75, "b": 0.25}
    inputs = model.example_inputs(2)
    torch.testing.assert_close(again(inputs), model(inputs))
    with pytest.raises(ValueError, match="shares: 'c' is not one of a, b, which the head reads"):
        model.set_answer({"c": 1.0})
    with pytest.raises(ValueError, match="shares: expected of 'b' a number above 0, got 0"):
        model.set_answer({"b": 0.0})


@pytest.mark.parametrize("task", TASKS)
def test_the_share_of_noise_falls(task: str) -> None:
    """One modality says what the label says, the other something at random, as loudly."""
    if TASKS[task].in_time:
        pytest.skip("its labels have a shape of their own; see the run along time")
    target = TASKS[task]()
    labels = ["x", "y", "z"] if target.has_classes else []
    outputs = target.num_outputs(labels)
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(outputs, outputs)
    torch.nn.init.eye_(head.weight)
    torch.nn.init.zeros_(head.bias)
    cells = [labels[i % 3] for i in range(200)] if labels else [str(float(i % 3)) for i in range(200)]
    places = {name: place for place, name in enumerate(labels)}
    wanted = torch.stack([target.parse(cell, places) for cell in cells])
    if not labels:
        said = wanted.view(200, 1)
    elif task == "ordinal":
        said = 6.0 * (wanted[:, None] > torch.arange(outputs)).float() - 3
    elif target.several:
        said = 6 * wanted.float() - 3
    else:
        said = 6 * torch.nn.functional.one_hot(wanted, 3).float()
    noise = said[torch.randperm(200, generator=generator)]
    weighing = Weighing(target, ("strong", "weak"), head)
    for part in torch.arange(200).split(64):
        reads = {"strong": ReadOut(said[part, None], None), "weak": ReadOut(noise[part, None], None)}
        weighing.add(reads, wanted[part])
    before = [target.loss(logits, own) for logits, own in weighing.answers({})]
    shares = weighing.fit()
    after = [target.loss(logits, own) for logits, own in weighing.answers(shares)]
    assert shares["strong"] > 1.2
    assert sum(shares.values()) == pytest.approx(2, abs=1e-3)
    assert sum(after) < sum(before)


def test_what_makes_no_difference_counts_alike() -> None:
    head = torch.nn.Linear(2, 2)
    weighing = Weighing(TASKS["multiclass"](), ("a", "b"), head)
    same = ReadOut(torch.randn(50, 1, 2), None)
    weighing.add({"a": same, "b": same}, torch.arange(50) % 2)
    assert weighing.fit() == {"a": 1.0, "b": 1.0}
    assert Weighing(TASKS["multiclass"](), ("a", "b"), head).fit() == {}


def test_what_tells_nothing_is_left_out_among_the_others() -> None:
    head = torch.nn.Linear(2, 2)
    weighing = Weighing(TASKS["multiclass"](), ("a", "b", "c"), head)
    values = torch.randn(3, 50, 1, 2)
    weighing.add({name: ReadOut(values[i], None) for i, name in enumerate("abc")}, torch.arange(50) % 2)
    shares = weighing.fit({"a", "c"})
    assert shares["b"] == 1e-4  # and not 0: a sample may have nothing else
    assert shares["a"] + shares["c"] == pytest.approx(3, abs=1e-3)
    assert weighing.fit({"b"}) == {"a": 1e-4, "b": 3.0, "c": 1e-4}


def test_noise_is_not_mixed_in_to_make_an_answer_less_sure() -> None:
    """One answer is right nine times in ten and always sure, the other is noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (400,), generator=generator)
    wrong = torch.rand(400, generator=generator) < 0.1
    said = 40 * torch.nn.functional.one_hot(torch.where(wrong, 1 - labels, labels), 2).float()
    noise = 40 * torch.randn(400, 1, 2, generator=generator)
    head = torch.nn.Linear(2, 2)
    torch.nn.init.eye_(head.weight)
    torch.nn.init.zeros_(head.bias)
    weighing = Weighing(TASKS["multiclass"](), ("right", "noise"), head)
    weighing.add({"right": ReadOut(said[:, None], None), "noise": ReadOut(noise, None)}, labels)
    shares = weighing.fit()
    assert shares["noise"] < 0.3
    ((answer, _),) = weighing.answers(shares)
    assert (answer.argmax(dim=1) == said.argmax(dim=1)).all()  # as one answer by itself has it


@pytest.mark.parametrize("single", [False, True])
def test_the_answer_is_apart_where_that_tells_more(single: bool) -> None:
    """Either each modality by itself says the label, or only both together do."""
    model = model_of("selfall", head_init="xavier")
    parts = ByModality(TASKS["multiclass"](), ["x", "y", "z"], model)
    labels = torch.arange(90) % 3
    right = 4 * torch.nn.functional.one_hot(labels, 3).float() @ torch.linalg.pinv(model.head.weight).T
    noise = torch.randn(90, 1, 16)
    reads = {name: ReadOut(noise if single else right[:, None], None) for name in SPECS}
    said = torch.nn.functional.one_hot(labels, 3).float()  # a little of it in any case, else nothing is weighed
    alone = {name: Alone(4 * said if single else torch.randn(90, 3) + said, None) for name in SPECS}
    parts.add(Apart(reads, alone), labels)
    answers = list(parts.answers(weighed=True))
    assert parts.apart is single
    assert all((logits.argmax(dim=1) == own).all() for logits, own in answers)
    never = ByModality(TASKS["multiclass"](), ["x", "y", "z"], model, may_be_apart=False)
    never.add(Apart(reads, alone), labels)
    list(never.answers(weighed=True))
    assert not never.apart


@pytest.mark.parametrize(
    ("strong", "weak", "together", "worth"),
    [
        (0.0, 0.0, 0.0, 0.1),  # nothing tells anything yet
        (0.0, 0.0, 0.4, 0.0),  # only both together
        (0.2, 0.0, 0.4, 0.25),  # a half of what both tell
        (0.4, 0.1, 0.4, 1.0),  # as much
        (0.6, 0.1, 0.4, 1.0),  # more
        (0.2, 0.0, 0.0, 1.0),  # something, where both together tell nothing
    ],
)
def test_what_the_losses_of_the_parts_are_worth(strong: float, weak: float, together: float, worth: float) -> None:
    parts = ByModality(TASKS["multiclass"](), ["x", "y", "z"], model_of("locomt"))
    assert parts.worth == 0  # before validation
    parts.skills, parts.together = {"a": strong, "b": weak}, together
    assert parts.worth == worth


def trouble(folder: Path) -> Path:
    """Clips of which one modality tells the class, by a sign somewhere in noise that takes patience to find, and the
    other only which clip it is: it is soon learned by heart, and tells nothing of other clips."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    signs = 2 * rng.normal(size=(4, 2, 8))
    lines = ["id,split,label,strong,weak"]
    for i in range(280):
        split = "train" if i < 120 else "val" if i < 180 else "test"
        label, place = int(rng.integers(4)), int(rng.integers(11))
        strong = rng.normal(size=(12, 8))
        strong[place : place + 2] += signs[label]
        weak = rng.normal(size=(1, 64)).repeat(6, axis=0)
        for name, values in (("strong", strong), ("weak", weak)):
            np.save(folder / f"{name}-{i}.npy", values.astype(np.float32))
        lines.append(f"{i},{split},c{label},strong-{i}.npy,weak-{i}.npy")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


class Step(torch.nn.Module):
    """A model whose forward pass is that of a training step."""

    def __init__(self, model: FusionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, torch.Tensor], lengths: None = None) -> list[torch.Tensor]:
        apart = self.model.apart(inputs, lengths)
        return [self.model.logits(apart.reads), *(answer.logits for answer in apart.alone.values())]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_memory_of_the_parts_is_estimated(fusion: str) -> None:
    model = model_of(fusion)
    estimate = activation_bytes(model.config, batch=8)
    estimate += sum(alone_bytes(model.config, name, batch=8, dtype_bytes=4) for name in SPECS)
    saved = saved_bytes(Step(model), model.example_inputs(8))  # type: ignore[arg-type]
    assert estimate == pytest.approx(saved, rel=0.05)


RECIPE = """
model: {dim: 32, heads: 4, depth: 2, fusion_layers: 2}
data:
  manifest: manifest.csv
  modalities:
    strong: {kind: features, column: strong, dim: 8, max_length: 12}
    weak: {kind: features, column: weak, dim: 64, max_length: 6}
  cache: true
train: {epochs: 24, batch_size: 8, optimizer: adamw, learning_rate: 2.0e-3, accelerator: cpu, tensorboard: false}
"""


STRONG = "{strong: {kind: features, column: strong, dim: 8, max_length: 12}}"


def test_a_modality_that_is_learned_by_heart_costs_nothing(tmp_path: Path) -> None:
    """By default a fused model ends near its best part; without the losses of the parts, it ends far below."""
    ways = {
        "fused": [],
        "before": ["--train.unimodal_loss", "0"],
        "alone": ["--model.fusion", "selfall", "--data.modalities", STRONG],
    }
    recipe, found = trouble(tmp_path / "data"), {}
    for name, options in ways.items():
        fit(load_recipe(recipe, options), tmp_path / name)
        found[name] = evaluate(Run.load(tmp_path / name))["metrics"]["accuracy"]
    assert found["alone"] - found["before"] > 0.1
    assert found["fused"] >= found["alone"] - 0.03
    config = Run.load(tmp_path / "fused").model.config
    assert config.shares["strong"] > config.shares["weak"]
    summary = json.loads((tmp_path / "fused" / "summary.json").read_text())
    assert bool(summary["apart"]) is config.apart
    assert not Run.load(tmp_path / "before").model.config.apart
    last = {name: value or 0.0 for name, value in RunDirectory(tmp_path / "fused").read_history()[-1].items()}
    assert last["val_accuracy/strong"] > 0.7 > last["val_accuracy/weak"]
    assert last["train_loss/weak"] < 0.1 < last["val_loss/weak"]
    assert last["gradient/strong"] > 0
    seen = {name: value or 0.0 for name, value in RunDirectory(tmp_path / "before").read_history()[-1].items()}
    assert seen["val_accuracy/strong"] > seen["val_accuracy"]  # a run without it says what is wrong


def test_without_a_validation_split_there_are_no_losses_of_parts(tmp_path: Path) -> None:
    recipe = trouble(tmp_path / "data")
    rows = (tmp_path / "data" / "manifest.csv").read_text().replace(",val,", ",other,")
    (tmp_path / "data" / "manifest.csv").write_text(rows)
    fit(load_recipe(recipe, "--train.epochs 1"), tmp_path / "run")
    config, (row,) = Run.load(tmp_path / "run").model.config, RunDirectory(tmp_path / "run").read_history()
    assert row["unimodal_weight"] == 0
    assert row["train_loss/strong"] is None
    assert (config.shares, config.apart) == ({}, False)


def test_a_checkpoint_from_before_is_gone_on_with(tmp_path: Path) -> None:
    recipe = load_recipe(trouble(tmp_path / "data"), "--train.epochs 2 --train.unimodal_loss 0")

    def stop(row: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "run", on_epoch=stop)
    last = RunDirectory(tmp_path / "run").last
    checkpoint = torch.load(last, weights_only=True)
    del checkpoint["parts"], checkpoint["shares"], checkpoint["apart"]
    torch.save(checkpoint, last)
    assert fit(recipe, tmp_path / "run", resume=True)["epoch"] in (1, 2)
    assert Run.load(tmp_path / "run").model.config.shares == {}
