"""A progress bar with time left for whatever reports how far it is."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

DOWNLOAD = "downloading"


class _Share(TextColumn):
    """How much is done, where the end can be foreseen."""

    def __init__(self) -> None:
        super().__init__("{task.percentage:>3.0f} %")

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["foreseen"] else Text()


class _Left(TimeRemainingColumn):
    """The time left, where the end can be foreseen."""

    def render(self, task: Task) -> Text:
        return Text.assemble("left ", super().render(task)) if task.fields["foreseen"] else Text()


class ProgressBar:
    """Shows one bar per stage; call it with (what, done, total); a total of 1 means that the end cannot be foreseen."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            _Share(),
            TimeElapsedColumn(),
            _Left(),
            console=console,
        )
        self._task: TaskID | None = None
        self._stage: tuple[str, float] = ("", 0.0)

    def __call__(self, what: str, done: float, total: float) -> None:
        """Show that `done` of `total` is finished."""
        stage = (what if total == 1 or "fitting" in what else "measuring", total)
        if stage != self._stage or self._task is None:
            if self._task is not None:
                self._progress.update(self._task, total=1, completed=1)
            self._task = self._progress.add_task(what, total=None if total == 1 else total, foreseen=total != 1)
            if what.startswith(DOWNLOAD):
                self._progress.console.print(what)  # a line that stays, whatever becomes of the bar
            self._stage = stage
        self._progress.update(self._task, description=what, completed=done)

    def next_job(self) -> None:
        """What is reported from now on is about other work, and gets a bar of its own."""
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._task, self._stage = None, ("", 0.0)

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None and kind is None:
            self._progress.update(self._task, total=1, completed=1)
        self._progress.stop()
