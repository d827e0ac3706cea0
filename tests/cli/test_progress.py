"""What the progress bar says, and what it leaves unsaid."""

from __future__ import annotations

import io

from rich.console import Console

from beb.cli.progress import ProgressBar


def shown(*stages: tuple[str, float, float]) -> str:
    stream = io.StringIO()
    with ProgressBar(Console(file=stream, width=120)) as bar:
        for stage in stages:
            bar(*stage)
        stream.truncate(0)
        bar._progress.console.print(bar._progress.get_renderable())
        return stream.getvalue()


def test_the_time_left_is_said_only_where_the_end_can_be_foreseen() -> None:
    unforeseen = shown(("loading the model", 0, 1))
    assert "loading the model" in unforeseen
    assert "left" not in unforeseen
    assert "%" not in unforeseen
    foreseen = shown(("sample", 3, 12))
    assert "25 %" in foreseen
    assert "left" in foreseen


def test_a_download_is_said_on_a_line_of_its_own_before_it_begins() -> None:
    stream = io.StringIO()
    with ProgressBar(Console(file=stream, width=120)) as bar:
        bar("downloading a model from somewhere", 0, 1)
        assert stream.getvalue() == "downloading a model from somewhere\n"
