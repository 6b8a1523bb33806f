"""The program `locomt`: finds the command's module, reads its options, runs it, and words its mistakes.

A command is a module `locomt.cli.<name>` with the members of `Command`. Its top-level imports are from the
standard library; what is heavy is imported in `run`, so that help and light commands stay fast.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn, Protocol, cast

from locomt import __version__
from locomt.cli.terminal import guarded, line
from locomt.hints import did_you_mean

COMMANDS = ("demo", "prepare", "train", "evaluate", "predict", "compare", "search", "experiment", "cost", "doctor")
MISTAKE, INTERRUPTED = 2, 130  # exit codes; 130 is what shells report for Ctrl-C

DESCRIPTION = "Train, measure and deploy multimodal transformers with a guaranteed bound on attention cost."
EPILOG = "`locomt COMMAND --help` shows a command's options and an example."
READ_RUNS = ("train", "evaluate", "predict", "compare", "search", "cost", "prepare")
TRUST = "follow the data, tokenizers and encoders that a run names which somebody else began"
OVERRIDES = "Any field of the recipe can be set on the command line: --model.depth 4"


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
    return line(" ".join(str(error).split())) or type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, or 2 for a user's mistake, or the command's own."""
    with guarded():
        return _main(sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> int:
    name = next(iter(argv), "--help")
    program = f"locomt {name}" if name in COMMANDS else "locomt"
    try:
        check_name(name)
        rest, overrides = split_overrides(argv)
        parser = build_parser([name] if name in COMMANDS else COMMANDS)
        args, unknown = parser.parse_known_args(rest or ["--help"])
        if unknown:
            raise ValueError(f"did not expect {unknown[0]!r} (see `{program} --help`)")
        command = load_command(args.command)
        if overrides and not takes_overrides(command):
            raise ValueError(f"{overrides[0]} sets a field of a recipe, and this command reads none")
        with trusted(getattr(args, "trust", False)):
            code = command.run(args, overrides)
        sys.stdout.flush()  # a reader that went away shows here, not when the interpreter ends
        return code
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `locomt ... | head` is nobody's mistake
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        if os.environ.get("LOCOMT_TRACEBACK"):
            raise
        print(f"{program}: {describe(error)}", file=sys.stderr)
        return MISTAKE
