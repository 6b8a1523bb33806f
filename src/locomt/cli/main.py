"""The program `locomt`: finds the command's module, reads its options, runs it, and words its mistakes.

A command is a module `locomt.cli.<name>` with the members of `Command`. Its top-level imports are from the
standard library; what is heavy is imported in `run`, so that help and light commands stay fast.
"""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn, Protocol, cast

from locomt import __version__, faults
from locomt.cli.completion import SHELLS, PrintCompletion
from locomt.cli.notes import said_once
from locomt.cli.seen import shown
from locomt.cli.terminal import guarded, line
from locomt.hints import did_you_mean
from locomt.processes import TERMINATED, stoppable

COMMANDS = (
    "fit",
    "demo",
    "prepare",
    "train",
    "evaluate",
    "predict",
    "export",
    "push",
    "compare",
    "search",
    "experiment",
    "cost",
    "fields",
    "doctor",
)
LACKING, MISTAKE, DIVERGED, INTERRUPTED = 1, 2, 3, 130  # exit codes; 130 is what shells report for Ctrl-C

DESCRIPTION = "Train, measure and deploy multimodal transformers with a guaranteed bound on attention cost."
EPILOG = """`locomt COMMAND --help` shows a command's options and an example.

exit codes:
  0    success
  1    the machine lacks something: disk, memory, file descriptors, a process that was killed
  2    a mistake: in the command line, the recipe or the data
  3    training ended, but its loss is beyond all reason
  130  interrupted; 143: ended by SIGTERM"""
READ_RUNS = ("train", "evaluate", "predict", "export", "push", "compare", "search", "cost", "prepare")
TRUST = "follow the data, tokenizers and encoders that a run names which somebody else began"
OVERRIDES = (
    "Any field of the recipe can be set on the command line: --model.depth 4\n(`locomt fields` says which there are)"
)


class Command(Protocol):
    """What a command's module has. `TAKES_OVERRIDES = True` besides, where it reads a recipe."""

    HELP: str  # one line, lower-case and without a full stop
    EXAMPLE: str  # a whole command line

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace, overrides: list[str]) -> int: ...


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line instead of the usage and a line, and takes no abbreviated options."""

    def __init__(self, **options: object) -> None:
        options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(MISTAKE, f"{self.prog}: {message} (see `{self.prog} --help`)\n")


def load_command(name: str) -> Command:
    """The module of one command."""
    return cast(Command, import_module(f"locomt.cli.{name}"))


def build_parser(names: Sequence[str] = COMMANDS) -> Parser:
    """The parser for the commands `names`."""
    parser = Parser(prog="locomt", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"locomt {__version__}")
    parser.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS, help="a script that completes command lines"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for name in names:
        command = load_command(name)
        epilog = f"example:\n  {command.EXAMPLE}"
        if takes_overrides(command):
            epilog = f"{OVERRIDES}\n\n{epilog}"
        own = commands.add_parser(name, help=command.HELP, description=command.HELP, epilog=epilog)
        command.add_arguments(own)
        if name in READ_RUNS:
            own.add_argument("--trust", action="store_true", help=TRUST)
    return parser


def takes_overrides(command: Command) -> bool:
    return getattr(command, "TAKES_OVERRIDES", False)


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take the recipe's fields, `--section.field value` or `--section.field=value`, out of a command line.

    argparse must not see them: it would take the value of an option that it does not know for a file.

    Raises:
        ValueError: a field has no value.
    """
    rest: list[str] = []
    overrides: list[str] = []
    items = iter(argv)
    for item in items:
        option, equals, _ = item.partition("=")
        if item == "--":
            return [*rest, item, *items], overrides
        if not (option.startswith("--") and "." in option):
            rest.append(item)
            continue
        overrides.append(item)
        if not equals:
            value = next(items, "--")
            if value.startswith("--"):
                raise ValueError(f"expected a value after {item}, as in `{item} VALUE`")
            overrides.append(value)
    return rest, overrides


def check_name(name: str) -> None:
    """Refuse what is neither a command nor an option.

    Raises:
        ValueError: with the commands there are and the closest of them.
    """
    if name in COMMANDS or name.startswith("-"):
        return
    hint = did_you_mean(name, COMMANDS, "`locomt --help` says what they do")
    raise ValueError(f"expected a command out of {', '.join(COMMANDS)}, got {name!r}; {hint}")


def check_dashes(argv: Sequence[str]) -> None:
    """Refuse the name of a file that begins with a dash, which argparse would take for an option that it lacks.

    Raises:
        ValueError: with the form that works.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    words, files = list(argv[:end]), argv[end + 1 :]
    dashed = [word for before, word in zip(["", *words], words, strict=False) if _is_dashed(word, before)]
    if dashed:
        form = shlex.join(["locomt", *(word for word in words if word not in dashed), "--", *dashed, *files])
        raise ValueError(f"did not expect {dashed[0]!r}; if it is the name of a file, put `--` before it: `{form}`")


def _is_dashed(word: str, before: str) -> bool:
    if (
        not word.startswith("-") or len(word) < 2 or (before.startswith("--") and "." in before)
    ):  # the value of a recipe's field
        return False
    return os.path.isfile(word) or (word[1] != "-" and len(word) > 2 and not _is_number(word))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@contextmanager
def trusted(wanted: bool) -> Iterator[None]:
    """Follow the names in the runs of others for as long as a command runs, where its user says so."""
    if not wanted:
        yield
        return
    from locomt.train.origin import trusting

    with trusting():
        yield


def describe(error: Exception) -> str:
    """An error as one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return line(f"{error.filename}: {error.strerror}")
    return line(faults.last_line(error)) or type(error).__name__


def _let_go(error: BaseException) -> None:
    """Drop what an error holds, without a word about what cannot be tidied up: torch's loaders trip over workers that
    they could not begin."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        for cause in faults.causes(error):
            cause.__traceback__ = None
        gc.collect()
    finally:
        sys.unraisablehook = before


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, 1 for what the machine lacks, 2 for a user's mistake, or the
    command's own."""
    with guarded():
        return _main(sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    # By default torch's threads wait for each other in a loop. Wherever anything else runs, that takes the time of
    # those that have work: a small model then trains ten times slower. It is read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    name = next(iter(argv), "--help")
    program = f"locomt {name}" if name in COMMANDS else "locomt"
    try:
        check_name(name)
        check_dashes(argv)
        rest, overrides = split_overrides(argv)
        parser = build_parser([name] if name in COMMANDS else COMMANDS)
        args, unknown = parser.parse_known_args(rest or ["--help"])
        if unknown:
            raise ValueError(f"did not expect {unknown[0]!r} (see `{program} --help`)")
        command = load_command(args.command)
        if overrides and not takes_overrides(command):
            raise ValueError(f"{overrides[0]} sets a field of a recipe, and this command reads none")
        with stoppable(), trusted(getattr(args, "trust", False)), shown(), said_once():
            code = command.run(args, overrides)
        sys.stdout.flush()  # a reader that went away shows here, not when the interpreter ends
        return code
    except SystemExit as stop:
        if stop.code == TERMINATED:
            print(f"{program}: terminated", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `locomt ... | head` is nobody's mistake
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except faults.errors(ValueError) as error:
        lacked = faults.describe(error)
        bug = lacked is None and not isinstance(error, ValueError | OSError)
        if bug or os.environ.get("LOCOMT_TRACEBACK"):
            raise
        print(f"{program}: {line(lacked) if lacked else describe(error)}", file=sys.stderr)
        if lacked:
            _let_go(error)
        return LACKING if lacked else MISTAKE
