"""The estimate of what training takes against what it takes, and what the device is said to have."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from locomt.cost.measured import peak_bytes
from locomt.nn.model import FusionModel
from locomt.tasks import TASKS
from locomt.train import fit, memory
from locomt.train.memory import Need, estimate, free_memory, shortage
from locomt.train.optim import make_optimizer
from locomt.train.recipe import Recipe


def wider(recipe: Recipe, optimizer: str, batch: int) -> Recipe:
    model = replace(recipe.model, dim=96, heads=4, depth=4, fusion_layers=2, dropout=0.0, drop_path=0.0)
    return replace(
        recipe, model=model, train=replace(recipe.train, optimizer=optimizer, batch_size=batch, unimodal_loss=1)
    )


@pytest.mark.parametrize(
    ("optimizer", "batch", "checkpointing"),
    [("sgd", 4, False), ("adamw", 4, False), ("adamw", 256, False), ("adamw", 256, True)],
)
def test_the_estimate_is_near_what_steps_allocate(
    recipe: Recipe, optimizer: str, batch: int, checkpointing: bool
) -> None:
    recipe = wider(recipe, optimizer, batch)
    recipe = replace(recipe, train=replace(recipe.train, checkpointing=checkpointing))
    config = recipe.fusion_config(["left", "right", "up"])

    def train() -> None:
        model = FusionModel(config)
        model.checkpointing = checkpointing
        rule = make_optimizer(model, recipe.train)
        inputs, labels = model.example_inputs(batch), torch.zeros(batch, dtype=torch.int64)
        for _ in range(3):
            apart = model.apart(inputs)
            answers = [model.logits(apart.reads), *(alone.logits for alone in apart.alone.values())]
            loss = torch.stack([TASKS["multiclass"]().loss(logits, labels) for logits in answers]).sum()
            rule.zero_grad()
            loss.backward()
            rule.step()

    need = estimate(recipe, config)
    assert need.total == pytest.approx(peak_bytes(train, torch.device("cpu")), rel=0.2)


def test_frozen_parts_and_processes_take_less(recipe: Recipe) -> None:
    config = recipe.fusion_config(["left", "right", "up"])
    whole, shared = estimate(recipe, config), estimate(replace(recipe, train=replace(recipe.train, devices=5)), config)
    assert estimate(recipe, config, trained=0) == replace(whole, optimizer=0)
    assert (whole.samples, shared.samples, shared.weights) == (5, 1, whole.weights)
    assert shared.activations < whole.activations / 4
    half = estimate(replace(recipe, train=replace(recipe.train, precision="bf16-mixed")), config)
    assert half.activations < whole.activations


def test_what_does_not_fit_is_said_before_training(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = replace(recipe, train=replace(recipe.train, epochs=1, frozen=("motion",)))
    fit(one, tmp_path / "fits")
    assert not caplog.records
    monkeypatch.setattr(memory, "free_memory", lambda: 2**16)
    fit(one, tmp_path / "does_not")  # said, not refused
    (record,) = caplog.records
    assert record.getMessage().startswith("training with 5 samples at once is estimated to need ")
    assert record.getMessage().endswith(
        "this machine has 0.1 MiB free: it may run out; a smaller train.batch_size or model takes less"
    )


def test_processes_share_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 100)
    need = Need(samples=1, weights=10, optimizer=20, activations=10)
    assert shortage(need, "cpu", 2) is None
    assert "in each of 3 processes" in str(shortage(need, "cpu", 3))
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert shortage(need, "cpu", 3) is None


@pytest.mark.parametrize("version", [1, 2])
def test_free_memory_is_within_the_limits_of_control_groups(version: int, tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:  4000 kB\nMemAvailable:    3000 kB\n")
    entry, root = ("0::/a/b", groups) if version == 2 else ("4:cpu,memory:/a/b", groups / "memory")
    (proc / "self" / "cgroup").write_text(f"{entry}\n")
    assert free_memory(proc, groups) == 3000 * 1024
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for folder, limit in ((root / "a" / "b", "max" if version == 2 else str(2**63 - 4096)), (root / "a", "2000000")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text("1500000\n")
        (folder / "memory.stat").write_text(f"{'inactive_file' if version == 2 else 'total_inactive_file'} 400000\n")
    assert free_memory(proc, groups) == 900_000
    assert free_memory(tmp_path / "elsewhere") is None
