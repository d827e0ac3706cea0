"""The cache: what killed processes leave behind, and disks that refuse."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beb.errors import NotAModel, StoreFull
from beb.models import gguf
from beb.models.cachedir import cache_writes, published_folder
from beb.models.huggingface import HuggingFaceModel
from beb.models.training import AdapterSpec, fit_adapter

DAY = 24 * 3600
NOBODY = 65534
WORKER = (
    "import sys, time; from pathlib import Path; from beb.models.cachedir import published_folder\n"
    "with published_folder(Path(sys.argv[1]) / 'adapter-1') as folder:\n"
    "    (folder / 'half').write_text('half'); print(folder, flush=True); time.sleep(60)"
)


@contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond the limit inside the block, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder, (then, then))


def publish(parent: Path, name: str = "adapter-2") -> Path:
    with published_folder(parent / name) as folder:
        (folder / "whole").write_text("whole")
    return parent / name


def test_what_a_killed_process_left_goes_when_it_is_a_day_old(tmp_path: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    unfinished = Path(worker.stdout.readline().strip())
    age(unfinished, 2 * DAY)
    publish(tmp_path)
    assert (unfinished / "half").read_text() == "half"  # its process lives and holds it, however old it is
    worker.kill()
    worker.wait()
    worker.stdout.close()
    age(unfinished, 0)
    publish(tmp_path)
    assert unfinished.is_dir()  # young: perhaps another machine's
    age(unfinished, 2 * DAY)
    publish(tmp_path)
    assert not unfinished.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["adapter-2"]


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    others = [tmp_path / name for name in (".config", "adapter-1", ".adapter-1")]
    for other in others:
        other.mkdir()
        age(other, 400 * DAY)
    (tmp_path / ".beb-unfinished-file").touch()
    age(tmp_path / ".beb-unfinished-file", 2 * DAY)
    publish(tmp_path)
    assert all(other.is_dir() for other in others)


def test_a_full_disk_during_a_fit_is_one_line_and_leaves_nothing(llama: HuggingFaceModel, tmp_path: Path) -> None:
    spec = AdapterSpec(rank=4, steps=1, batch=1, sequence_tokens=8)
    with file_size_limit(2000), pytest.raises(StoreFull) as caught:
        fit_adapter(llama, ["I despise waiting."], spec=spec, cache_dir=tmp_path / "adapters")
    assert str(caught.value).startswith(f"no space left in {tmp_path / 'adapters'} (File too large)")
    assert "BEB_CACHE" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "adapters").iterdir()) == []
    fit_adapter(llama, ["I despise waiting."], spec=spec, cache_dir=tmp_path / "adapters")


@pytest.mark.parametrize("limit", [1000, 60_000])
def test_a_full_disk_during_a_conversion_is_one_line_and_leaves_nothing(
    limit: int, gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smaller limit stops the configuration, the larger one the weights."""
    monkeypatch.setenv("BEB_CACHE", str(tmp_path))
    with file_size_limit(limit), pytest.raises(StoreFull, match=f"no space left in {tmp_path / 'gguf'}"):
        gguf.converted_folder(gguf_file)
    assert list((tmp_path / "gguf").iterdir()) == []
    gguf.converted_folder(gguf_file)


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)  # nothing is read-only to root
    try:
        with pytest.raises(StoreFull, match=rf"cannot write to {tmp_path} \(Permission denied\); .*BEB_CACHE"):
            publish(tmp_path)
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o755)


def test_a_cache_below_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFull, match=r"cannot write to .*\(Not a directory\)"):
        publish(tmp_path / "file" / "adapters")


def test_errors_that_are_not_the_disks_pass_unchanged(tmp_path: Path) -> None:
    for error in (NotAModel("x (os error 28)"), ValueError("no number"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, cache_writes(tmp_path):
            raise error
        assert caught.value is error
    with pytest.raises(StoreFull, match="no space left"), cache_writes(tmp_path):
        raise RuntimeError(f"I/O error: No space left on device (os error {errno.ENOSPC})")
