"""Hashes of everything that determines a model's probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_DEFINING = (
    "*.safetensors",
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "chat_template*",
)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def combined(parts: Iterable[str]) -> str:
    """Hash of a list of strings, sensitive to their order and borders."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def checkpoint_fingerprint(folder: Path) -> str:
    """Hash over the weights, configuration and tokenizer files of a checkpoint folder."""
    files = sorted({path for pattern in _DEFINING for path in folder.glob(pattern) if path.is_file()})
    return combined(text for path in files for text in (path.name, file_sha256(path)))
