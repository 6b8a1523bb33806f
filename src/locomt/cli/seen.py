"""Long work on stderr: bars with numbers on a terminal, elsewhere a line now and then. One process of a run speaks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from locomt.progress import Listener, Stage, heard_by

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

FIRST, EVERY = 10.0, 30.0
"""Seconds until the first line, and between the others."""
LOOK = 0.2
"""Seconds between two looks at the numbers of a bar: a GPU is waited for at each."""
WIDE, LONG, SHORT = 100, 16, 5
"""Columns of a terminal from which on bars are long, and how long they are: the numbers come first."""


@contextmanager
def shown() -> Iterator[None]:
    """Show all long work within the block."""
    with heard_by(OnStderr()):
        yield


def duration(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def counted(stage: Stage) -> str:
    """`12 of 40 samples`."""
    if stage.total is None and not stage.done:
        return "begun"
    count = f"{stage.done:,}" if stage.total is None else f"{stage.done:,} of {stage.total:,}"
    return count if stage.unit == stage.what else f"{count} {stage.unit}"


class OnStderr:
    """Hears of stages, and shows them as stderr allows for, which is settled when the first one begins."""

    @cached_property
    def form(self) -> Listener:
        from locomt.cli.output import console
        from locomt.ranks import is_first

        if not is_first():
            return Silence()
        return Bars() if console().is_terminal and not console().is_dumb_terminal else Lines()

    def began(self, stage: Stage) -> None:
        self.form.began(stage)

    def moved(self, stage: Stage) -> None:
        self.form.moved(stage)

    def noted(self, stage: Stage, line: str) -> None:
        self.form.noted(stage, line)

    def ended(self, stage: Stage) -> None:
        self.form.ended(stage)


class Silence:
    """The stages that are going on, the outermost first; nothing is shown of them."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def began(self, stage: Stage) -> None:
        self.stages.append(stage)

    def moved(self, stage: Stage) -> None: ...

    def noted(self, stage: Stage, line: str) -> None: ...

    def ended(self, stage: Stage) -> None:
        self.stages.remove(stage)


class Spoken(Silence):
    """Lines that are worth keeping are said."""

    def noted(self, stage: Stage, line: str) -> None:
        from locomt.cli.notes import say

        if self.stages[0] is stage:
            say(line)


class Lines(Spoken):
    """A line now and then, in a pipe or a file: on all that is going on."""

    def __init__(self) -> None:
        super().__init__()
        self.due = time.monotonic() + FIRST
        self.told: set[Stage] = set()

    def moved(self, stage: Stage) -> None:
        if time.monotonic() < self.due:
            return
        self.told |= set(self.stages)
        if self.stages[0] is not stage or stage.done != stage.total:  # or else it is said when that ends
            self.say("; ".join(self.line(one, self.stages[place + 1 :]) for place, one in enumerate(self.stages)))

    def ended(self, stage: Stage) -> None:
        super().ended(stage)
        if stage in self.told:
            self.told.discard(stage)
            if not self.stages and stage.done == stage.total:
                self.say(f"{stage.what}: {counted(stage)} in {duration(stage.spent)}")

    def say(self, line: str) -> None:
        from locomt.cli.notes import say

        say(line)
        self.due = time.monotonic() + EVERY

    def line(self, stage: Stage, inner: Sequence[Stage] = ()) -> str:
        """`reading: 12 of 40 samples, 0:12 gone, about 0:28 left`; no less than what is going on within it takes."""
        times = [f"{duration(stage.spent)} gone"]
        if (left := stage.left) is not None:
            left = max([left, *(rest for one in inner if (rest := one.left) is not None)])
            times.append(f"about {duration(left)} left")
        return f"{stage.what}: {', '.join([counted(stage), *stage.facts(), *times])}"


class Bars(Spoken):
    """A bar for each stage that is going on, while it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.bars: Progress | None = None
        self.tasks: dict[Stage, TaskID] = {}
        self.due: dict[Stage, float] = {}

    def began(self, stage: Stage) -> None:
        super().began(stage)
        if self.bars is None:
            self.bars = _bars()
            self.bars.start()
        self.tasks[stage] = self.bars.add_task(stage.what, total=stage.total, stage=stage, facts="")

    def moved(self, stage: Stage) -> None:
        if (now := time.monotonic()) < self.due.get(stage, 0.0) and stage.done != stage.total:
            return
        self.due[stage] = now + LOOK
        assert self.bars is not None
        facts = "".join(f" · {fact}" for fact in stage.facts())
        self.bars.update(self.tasks[stage], completed=stage.done, total=stage.total, facts=facts)

    def ended(self, stage: Stage) -> None:
        super().ended(stage)
        assert self.bars is not None
        self.bars.remove_task(self.tasks.pop(stage))
        self.due.pop(stage, None)
        if not self.stages:
            self.bars.stop()
            self.bars = None


def _bars() -> Progress:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    from locomt.cli.output import console
    from locomt.cli.terminal import line

    class Numbers(ProgressColumn):
        """How many, how long it takes still, and the facts: what does not fit the terminal is cut off last."""

        def render(self, task: Task) -> Text:
            stage: Stage = task.fields["stage"]
            left = stage.left
            times = f"{duration(stage.spent)} gone" if left is None else f"{duration(left)} left"
            many = "" if not stage.total else f"{stage.done:,}/{stage.total:,} · "
            return Text(line(f"{many}{times}{task.fields['facts']}"), no_wrap=True, overflow="ellipsis")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(LONG if console().width >= WIDE else SHORT),
        Numbers(),
        console=console(),
        transient=True,
        refresh_per_second=5,
    )
