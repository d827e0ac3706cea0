"""Where downloads, conversions and fitted adapters are kept, and how a folder appears there in one step."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from beb.errors import BebError, StoreFull

_UNFINISHED = ".beb-unfinished-"
_STALE_SECONDS = 24 * 3600
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")


def cache_folder() -> Path:
    """The cache of the user: environment variable BEB_CACHE, or the system's place for caches."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("BEB_CACHE") or user_cache_dir("beb")).expanduser()


@contextmanager
def cache_writes(folder: Path, *, variable: str = "BEB_CACHE") -> Iterator[None]:
    """What the disk refuses inside the block becomes one line that names the folder.

    variable: the environment variable that names another folder.
    Raises: StoreFull for an OSError, and for the errors in which libraries written in Rust wrap one.
    """
    try:
        yield
    except BebError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else _rust_errno(error)
        if number is None:
            raise
        what = "no space left in" if number in _FULL else "cannot write to"
        raise StoreFull(
            f"{what} {folder} ({os.strerror(number)}); make room or allow writing there, or name another folder in the "
            f"environment variable {variable}"
        ) from error


@contextmanager
def published_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place when the block ends well, and vanishes otherwise.

    What a killed process left behind there is removed once it is a day old and no living process holds it.
    Raises: StoreFull if the disk refuses, inside the block too.
    """
    with cache_writes(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target.parent)
        temporary = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=target.parent))
        try:
            with _held(temporary):
                yield temporary
            temporary.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            try:
                temporary.replace(target)
            except OSError:
                # Another process published the same content first.
                if not target.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    for folder in parent.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):  # another process removes it too, holds it, or owns it
            if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                with _held(folder):
                    shutil.rmtree(folder)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder until the block ends or the process dies; where the file system has no locks, hold nothing.

    Raises: BlockingIOError if a living process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise
        yield
    finally:
        os.close(handle)


def _rust_errno(error: Exception) -> int | None:
    found = _RUST_ERROR.search(str(error))
    return int(found.group(1)) if found else None
