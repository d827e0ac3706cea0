"""The C library's allocator, told from the start to keep for the next pass what a pass frees."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGEST = 32 * 2**20
_KEPT = 2 * _LARGEST
_OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def keep_freed() -> bool:
    """Keep freed blocks of less than 32 MiB in the process, and 64 MiB at the end of its heap; whether glibc agreed.

    glibc gives back larger ones, and the next pass then has every page of them zeroed anew, which can take as long as
    its matrix products. These limits are the highest that glibc comes to by itself, but only after it has freed a block
    of that size; a pass frees much smaller ones. Nothing is done elsewhere than on glibc, or where the environment says
    otherwise.
    """
    library = _glibc()
    if library is None or any(name in os.environ for name in _OWN_SETTINGS):
        return False
    return bool(library.mallopt(_M_MMAP_THRESHOLD, _LARGEST) and library.mallopt(_M_TRIM_THRESHOLD, _KEPT))


def give_back() -> None:
    """Give what is kept back to the system."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> Any | None:
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - only glibc has it
    except (OSError, AttributeError, TypeError):
        return None
    return library
