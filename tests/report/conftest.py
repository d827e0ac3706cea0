"""One hostile run for all tests of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from beb.experiments.store import Store

from .browser import browser, open_page
from .factory import fill_store
from .kinds import runs
from .what_if_run import what_if_run

__all__ = ["browser", "hostile_store", "open_page", "runs", "what_if_run"]


@pytest.fixture(scope="session")
def hostile_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("hostile-run")
    fill_store(folder)
    with Store.read(folder) as store:
        yield store
