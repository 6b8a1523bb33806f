"""Imports: every module can be imported, only one way, and cheaply."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import locomt
from locomt.cli.main import COMMANDS

SOURCE = Path(locomt.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = {
    ".".join(("locomt", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in FILES
}

# From the lowest room to the highest: a module imports from its own room and from lower ones alone.
ROOMS = (
    ("hints", "require", "faults", "files", "processes", "ranks", "progress"), ("lock", "views", "cautions"),
    ("layout",), ("ops",),
    ("nn", "tasks"), ("cost", "data"), ("train", "runtime"), ("export",), ("report",), ("search",), ("compare",),
    ("demo", "quick"), ("studies",), ("cli",),
)  # fmt: skip
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}

# What may be imported where, at whatever depth of the code: everything else is free to all.
TORCH_ONLY = {
    "hints", "require", "faults", "files", "ranks", "progress", "cautions", "views", "layout", "ops", "nn"
}  # fmt: skip
WITH_LIGHTNING = {"train", "compare", "demo", "quick", "studies", "cli"}
LIGHT_BASE = {"torch", "locomt", "jaxtyping", *sys.stdlib_module_names}
# Triton is optional, and imported where its backend is asked for.
KERNELS = {"triton"}
# The hub mixin and the weight files are imported where a model is saved or loaded.
SAVING = {"huggingface_hub", "safetensors"}
# Text encoders are imported where a model has one.
ENCODERS = {"transformers"}


def room(module: str) -> str:
    return ([*module.split("."), ""])[1]


def imports(path: Path) -> set[str]:
    """All modules that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            found |= {
                name if (name := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            }
    return found


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"locomt.__main__"}))
def test_module_imports(module: str) -> None:
    import_module(module)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module: str) -> None:
    own = room(module)
    for name in imports(MODULES[module]):
        if name.partition(".")[0] != "locomt" or own in ("", "__main__"):
            continue
        other = room(name)
        if other == own or other == "":  # `locomt` itself: its version
            continue
        assert LEVEL[other] < LEVEL[own], f"{module} must not import {name}"


def test_no_two_files_import_each_other() -> None:
    """Not by way of others either, nor within functions; a room's `__init__`, which only names its files, apart."""
    files = {name: path for name, path in MODULES.items() if path.name != "__init__.py"}
    left = {name: imports(path) & files.keys() for name, path in files.items()}
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"circles within {', '.join(sorted(left))}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_lightning_stays_in_the_upper_rooms(module: str) -> None:
    tops = {name.partition(".")[0] for name in imports(MODULES[module])}
    assert room(module) in WITH_LIGHTNING or not tops & {"lightning", "pytorch_lightning"}


@pytest.mark.parametrize("module", sorted(name for name in MODULES if room(name) in TORCH_ONLY))
def test_lower_rooms_need_torch_alone(module: str) -> None:
    tops = {name.partition(".")[0] for name in imports(MODULES[module])}
    assert tops <= LIGHT_BASE | {"nn": SAVING | ENCODERS, "ops": KERNELS}.get(room(module), set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_file_is_no_longer_than_a_reader_can_hold(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_import_what_is_heavy_only_when_they_run(command: str) -> None:
    for node in ast.parse(MODULES[f"locomt.cli.{command}"].read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_locomt_imports_nothing_else() -> None:
    assert not modules_after("import locomt") & {"torch", "numpy", "lightning", "av", "rich", "transformers"}


def test_the_tables_do_not_need_torch() -> None:
    assert "torch" not in modules_after("from locomt import LayerViews, TokenLayout, View, ViewTable")


def test_ops_and_models_add_nothing_heavy_to_torch() -> None:
    heavy = {"lightning", "torchmetrics", "av", "transformers", "rich", "matplotlib", "jsonargparse", "scipy"}
    heavy.add("torch._dynamo")  # the compiler takes as long as the rest of torch
    assert not modules_after("from locomt import FusionConfig, FusionModel, ViewAttention, view_attention") & heavy


def test_ops_and_models_work_where_only_torch_is_installed() -> None:
    blocked = sorted(SAVING | KERNELS | {"jaxtyping", "numpy", "lightning", "yaml", "rich"})
    modules_after(
        f"for name in {blocked}: sys.modules[name] = None\n"
        "from locomt import FusionConfig, FusionModel, ViewAttention, view_attention"
    )


@pytest.mark.parametrize("name", locomt.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(locomt, name) is not None
    assert name in dir(locomt)


@pytest.mark.parametrize("package", sorted(name for name, path in MODULES.items() if path.name == "__init__.py"))
def test_names_of_packages_are_there(package: str) -> None:
    """Some are imported when they are asked for, by a table that says in which module they are."""
    module = import_module(package)
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None


def test_unknown_public_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Veiw'"):
        locomt.Veiw  # noqa: B018
