"""Where downloads, conversions and fitted adapters are kept, and how a folder appears there in one step."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """The cache of the user: environment variable BEB_CACHE, or the system's place for caches."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("BEB_CACHE") or user_cache_dir("beb")).expanduser()


@contextmanager
def published_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place when the block ends well, and vanishes otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:20]}-", dir=target.parent))
    try:
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
