"""Fused runs whose towers start from finished runs of each modality alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from feature_project import make_project
from locomt import FusionModel
from locomt.nn.config import FUSIONS, FusionConfig
from locomt.nn.own_towers import is_own
from locomt.nn.pretrained import fill_towers
from locomt.require import ConfigError
from locomt.train import Run, fit, load_recipe
from locomt.train.config import RecipeError
from locomt.train.pretrained_input import differences
from locomt.train.run_directory import RunError

FEATURES = {"kind": "features", "dim": 6, "max_length": 4, "standardise": True}
STILL = ("--train.learning_rate", "1e-12")


def alone(name: str, **fields: Any) -> list[str]:
    return [
        "--data.modalities",
        yaml.safe_dump({name: {**FEATURES, "column": name, **fields}}, default_flow_style=True),
    ]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, beside which lie finished runs of `motion` (Selfall) and `sound` (MBT)."""
    recipe = make_project(tmp_path_factory.mktemp("own"), epochs=1)
    for name, fusion in (("motion", "selfall"), ("sound", "mbt")):
        fit(load_recipe(recipe, [*alone(name), "--model.fusion", fusion, "--data.max_bad=0.5"]), recipe.parent / name)
    values = yaml.safe_load(recipe.read_text())
    for entry in values["data"]["modalities"].values():
        entry["standardise"] = True
    values["train"]["pretrained"] = {"motion": "motion", "sound": "sound"}
    recipe.write_text(yaml.safe_dump(values))
    return recipe


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_fused_run_starts_from_runs_of_each_alone(project: Path, fusion: str, tmp_path: Path) -> None:
    """At a rate too low to move anything, what comes out is what went in: each weight from its own run."""
    recipe = load_recipe(project, ["--model.fusion", fusion, *STILL])
    assert differences(recipe) == []
    fit(recipe, tmp_path / "run")
    state = Run.load(tmp_path / "run").model.state_dict()
    parts = {name: Run.load(project.parent / name).model.state_dict() for name in ("motion", "sound")}
    came = set()
    for name, part in parts.items():
        for key, tensor in part.items():
            if key in ("head.weight", "head.bias", "bottleneck"):
                continue
            key = key.replace(".blocks.sound.", ".").replace(".tokens.", f".{name}.")  # as views have it
            if fusion == "mbt" and key.startswith("fusion."):
                _, layer, rest = key.split(".", 2)
                key = f"fusion.{layer}.blocks.{name}.{rest.replace(f'.{name}', '.tokens')}"
            torch.testing.assert_close(state[key], tensor, atol=1e-8, rtol=0, msg=key)
            came.add(key)
    assert set(state) - came == {"head.weight", "head.bias"} | ({"bottleneck"} if fusion == "mbt" else set())


def test_towers_say_what_they_said(project: Path) -> None:
    """Where no head looks across, the head reads of a modality what the head of its own run does."""
    recipe = load_recipe(project, ["--model.fusion", "selfall"])
    fused, part = FusionModel(recipe.fusion_config()).eval(), Run.load(project.parent / "motion").model
    fill_towers(fused, {"motion": project.parent / "motion" / "model"})
    inputs, lengths = torch.randn(3, 4, 6), torch.tensor([4, 2, 3])
    with torch.no_grad():
        ours = fused.apart({"motion": inputs, "sound": torch.randn(3, 4, 6)}, {"motion": lengths}).reads["motion"]
        theirs = part.apart({"motion": inputs}, {"motion": lengths}).reads["motion"]
    torch.testing.assert_close(ours.values, theirs.values)


def test_one_modality_of_a_fused_run(project: Path, tmp_path: Path) -> None:
    """The source may have others beside, and fusion layers elsewhere; positions are resized."""
    fit(load_recipe(project, ["--train.pretrained", "{}", "--model.fusion", "multiall"]), tmp_path / "both")
    longer = {"max_length": 8, "standardise": True}
    chosen = [
        "--train.pretrained",
        f"{{motion: {tmp_path / 'both'}}}",
        "--model.fusion_layers=2",
        "--model.fusion=selfall",
        *STILL,
    ]
    recipe = load_recipe(project, [*alone("motion", **longer), *chosen])
    assert "max_length 4 (here 8)" in differences(recipe)[0]
    fit(recipe, tmp_path / "run")
    had, has = (Run.load(tmp_path / name).model.state_dict() for name in ("both", "run"))
    assert has["embeddings.motion.positions"].shape == (8, 16)
    for ours, theirs in (("fusion.0", "towers.motion.0"), ("fusion.1", "fusion.0")):
        torch.testing.assert_close(
            has[f"{ours}.mlp.motion.0.weight"], had[f"{theirs}.mlp.motion.0.weight"], atol=1e-8, rtol=0
        )


def test_auto_takes_over_what_a_run_was_trained_on(project: Path) -> None:
    asked = {"dim": "auto", "max_length": "auto", "standardise": "auto"}
    recipe = load_recipe(project, [*alone("motion", **asked), "--train.pretrained", "{motion: motion}"])
    assert recipe.data.modalities == Run.load(project.parent / "motion").recipe.data.modalities
    with pytest.raises(RecipeError, match=r"motion\.depth: \S+motion knows no such field of 'motion'"):
        load_recipe(project, [*alone("motion", depth="auto"), "--train.pretrained", "{motion: motion}"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.dim", "32"], r"needs model\.dim 16, here it is 32"),
        (["--model.heads", "4"], r"needs model\.heads 2, here it is 4"),
        (["--model.depth", "3"], r"needs model\.depth 2, here it is 3"),
        (["--model.norm_eps", "1e-3"], r"needs model\.norm_eps 1e-05, here it is 0\.001"),
        (["--data.modalities.motion.dim", "5"], r"'motion' of \S+ has 6 numbers a token and 1 class tokens, here 5"),
        (["--data.modalities.motion.standardise", "false"], r"needs data\.modalities\.motion\.standardise true"),
        (["--model.shared_weights", "true"], "all must name the same checkpoint"),
        (["--train.pretrained", "{motion: sound}"], r"the run in \S+ has sound, no 'motion'"),
        (["--train.pretrained", "{motion: nothing}"], r"'motion' is features: expected a finished run, got nothing"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(project: Path, tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises((ConfigError, RecipeError), match=message):
        fit(load_recipe(project, options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_has_not_finished_is_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.yaml").write_bytes((project.parent / "motion" / "config.yaml").read_bytes())
    recipe = load_recipe(project, ["--train.pretrained", f"{{motion: {tmp_path / 'half'}}}"])
    with pytest.raises(RunError, match=r"train\.pretrained\.motion: the run in \S+half has not finished"):
        fit(recipe, tmp_path / "run")


@pytest.mark.parametrize("text", ["- 1", "data: {modalities: 3}", "data: {modalities: {motion: {kind: [1]}}}", "a: ["])
def test_a_damaged_recipe_of_a_run_is_refused(project: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    recipe = load_recipe(project, ["--train.pretrained", f"{{motion: {tmp_path}}}"])
    with pytest.raises(RecipeError, match=r"config\.yaml"):
        differences(recipe)


def test_a_model_by_itself(project: Path, tmp_path: Path) -> None:
    """What `save_pretrained` wrote serves as well; a single set of fusion weights goes to models that share it too."""
    config = load_recipe(project, ["--model.shared_weights", "true", "--train.pretrained", "{}"]).fusion_config()
    FusionModel(config).save_pretrained(tmp_path / "model")
    assert is_own(tmp_path / "model")
    recipe = load_recipe(
        project,
        [
            "--train.pretrained",
            f"{{motion: {tmp_path / 'model'}, sound: {tmp_path / 'model'}}}",
            "--model.shared_weights=true",
        ],
    )
    assert differences(recipe) == []
    model = FusionModel(config)
    fill_towers(model, recipe.train.pretrained)
    trained = FusionModel.from_pretrained(tmp_path / "model").state_dict()
    assert all(torch.equal(t, trained[key]) for key, t in model.state_dict().items() if not key.startswith("head."))
    split = FusionModel(FusionConfig.from_dict(config.to_dict() | {"shared_weights": False}))
    split.save_pretrained(tmp_path / "split")
    with pytest.raises(ConfigError, match=r"train it with model\.shared_weights, or this model without"):
        fill_towers(FusionModel(config), {"motion": tmp_path / "split"})
