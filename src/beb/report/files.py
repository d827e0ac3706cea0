"""Files that are complete or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from beb.experiments.store import mapped_errors


def write_whole(content: bytes, path: Path) -> Path:
    """Write a file, replacing what is there; its folder is made if needed.

    Returns: path. Raises: StoreFull where the folder cannot be written or is full, StoreError where it is no folder.
    """
    with mapped_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).chmod(0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return path
