"""The forms of a graph: how each is written, and how it is run to see that it answers as the model does."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.export import ExportedProgram

from locomt.require import ConfigError, require
from locomt.runtime.bundle import run, session_of

Array = np.ndarray[Any, Any]
Answers = Callable[[Sequence[Array], Array], Array]
"""From the inputs of all modalities and the lengths to the logits."""

OPSET = 20
"""Of ONNX. That of 23 has an operator for attention, which ONNX Runtime's CPU kernel refuses where a mask is the same
for all queries."""
MOST_INSIDE = 1_500_000_000
"""Bytes of weights that lie in the file of an ONNX graph itself; it can hold 2 GB."""


class Form(NamedTuple):
    """A form of a graph.

    Attributes:
        file: its name in a bundle.
        write: a program into that file.
        open: the file, to be asked; `names` are the modalities.
    """

    file: str
    write: Callable[[ExportedProgram, Path], None]
    open: Callable[[Path, Sequence[str]], Answers]


def check_form(form: str) -> None:
    """Refuse a form that cannot be written here, before the model is traced.

    Raises:
        ConfigError: there is no such form, or what it takes is not installed.
    """
    require(form in FORMS, f"format: expected one of {', '.join(FORMS)}, got {form!r}")
    if form == "onnx":
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ModuleNotFoundError as error:
            raise ConfigError(f"format onnx needs {error.name}: pip install 'locomt[export]'") from None
    if form == "aoti" and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise ConfigError("format aoti needs a C++ compiler: install g++, or name one by the environment's CXX")


def _write_onnx(program: ExportedProgram, path: Path) -> None:
    weights = sum(tensor.nbytes for tensor in program.state_dict.values())
    with _quietly():
        written = torch.onnx.export(program, (), dynamo=True, opset_version=OPSET, verbose=False)
    assert written is not None
    for node in written.model.graph:  # where in the source of torch and of locomt each operator came from
        node.metadata_props.clear()
    written.save(str(path), external_data=weights > MOST_INSIDE)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the converter says of its own folding of constants, a line an operator."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _open_onnx(path: Path, names: Sequence[str]) -> Answers:
    session = session_of(path, torch.get_num_threads())  # as many as the model that it is timed beside
    return lambda inputs, lengths: run(session, inputs, lengths)


def _write_program(program: ExportedProgram, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)


def _open_program(path: Path, names: Sequence[str]) -> Answers:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _asked(torch.export.load(path).module(), names)


def _asked(module: Any, names: Sequence[str]) -> Answers:
    def answers(inputs: Sequence[Array], lengths: Array) -> Array:
        tensors = {name: torch.from_numpy(array) for name, array in zip(names, inputs, strict=True)}
        with torch.inference_mode():
            found: Array = module(tensors, torch.from_numpy(lengths)).numpy()
        return found

    return answers


def _write_compiled(program: ExportedProgram, path: Path) -> None:
    with _quietly():
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))


def _open_compiled(path: Path, names: Sequence[str]) -> Answers:
    with _quietly():
        package: Any = torch._inductor.aoti_load_package(str(path))
    return _asked(package, names)


FORMS = {
    "onnx": Form("model.onnx", _write_onnx, _open_onnx),
    "pt2": Form("model.pt2", _write_program, _open_program),
    "aoti": Form("compiled.pt2", _write_compiled, _open_compiled),
}
