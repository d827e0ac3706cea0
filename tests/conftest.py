"""How the suite is spread over worker processes (`pytest -n auto`), and the tiny checkpoints that many files share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))

if WORKERS:  # before torch and numpy are imported: the workers, and the commands they start, share the processors
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest begin first (one worker runs all of a file), so that none is left alone with them."""
    if WORKERS:
        with_model = {item.path for item in items if item.get_closest_marker("model")}
        items.sort(key=lambda item: (item.path not in with_model, not item.path.stem.endswith("_coverage")))


@pytest.fixture(scope="session")
def trained_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`checkpoints.write_shop`, trained once; nobody writes into it."""
    from checkpoints import write_shop

    return write_shop(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def shop(trained_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the shop for the tests of one file: the working directory, with a cache of its own and no GPU."""
    folder = tmp_path_factory.mktemp("shop")
    shutil.copytree(trained_shop, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BEB_CACHE", str(folder / "cache"))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield folder
