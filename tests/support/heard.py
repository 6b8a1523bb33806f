"""Somebody who listens to long work and remembers it."""

from locomt.progress import Stage


class Heard:
    """What was heard: of stages that moved their names, how many were done and of how many; the lines that they noted;
    those that began and ended."""

    def __init__(self) -> None:
        self.moves: list[tuple[str, int, int | None]] = []
        self.notes: list[str] = []
        self.began_and_ended: list[tuple[str, str]] = []

    def began(self, stage: Stage) -> None:
        self.began_and_ended.append(("began", stage.what))

    def moved(self, stage: Stage) -> None:
        stage.facts()
        self.moves.append((stage.what, stage.done, stage.total))

    def noted(self, stage: Stage, line: str) -> None:
        self.notes.append(line)

    def ended(self, stage: Stage) -> None:
        self.began_and_ended.append(("ended", stage.what))
