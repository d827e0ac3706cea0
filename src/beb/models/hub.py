"""Files of a hub repository, from the cache or the network: never pickles, never code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from beb.errors import NotAModel

CHECKPOINT_FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")

Notice = Callable[[str], None]


def hub_folder(name: str, *, offline: bool, notice: Notice | None, files: Sequence[str] = CHECKPOINT_FILES) -> Path:
    """The snapshot of a hub repository, of the files of these patterns only.

    Raises: NotAModel.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from beb.models.quiet import quiet_loading

    try:
        with quiet_loading():
            if notice is not None and not offline:
                notice(f"downloading {name} unless it is in the cache")
            return Path(snapshot_download(name, allow_patterns=list(files), local_files_only=offline))
    except LocalEntryNotFoundError as error:
        how = "run once without offline" if offline else "check the network"
        raise NotAModel(
            f"{name} is not in the local hub cache and was not downloaded; {how}, or give a local folder"
        ) from error
    except (HfHubHTTPError, OSError, ValueError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise NotAModel(f"{name} could not be fetched from the hub ({type(error).__name__}: {reason})") from error
