"""GGUF files: dequantised once into a cached safetensors folder, from which they load like any checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from beb.errors import NotAModel
from beb.models.cachedir import cache_folder, published_folder
from beb.models.fingerprint import combined, file_sha256
from beb.models.hardware import Hardware
from beb.models.huggingface import DTYPES, HuggingFaceModel, load_checkpoint
from beb.models.quiet import quiet_loading

CONVERTER_VERSION = 1
_MANIFEST = "beb_conversion.json"
_MAGIC = b"GGUF"


def load_gguf(
    path: Path,
    *,
    name: str,
    dtype: str = "fp32",
    hardware: Hardware | None = None,
    notice: Callable[[str], None] | None = None,
) -> HuggingFaceModel:
    """A model from a GGUF file, converted on first use.

    The converted folder holds fp32, which keeps the dequantised values exactly: stored in bf16, the log-probability
    of a sentence under SmolLM2 would move by 0.07 nats (standard deviation). dtype bf16 rounds on loading.
    notice: told in words when a conversion begins.
    Raises: NotAModel, BadSpec.
    """
    sha256 = _require_gguf(path)
    folder = converted_folder(path, sha256=sha256, notice=notice)
    return load_checkpoint(
        folder,
        name=name,
        dtype=dtype,
        hardware=hardware,
        fingerprint=combined(("gguf", sha256, str(CONVERTER_VERSION))),
    )


def converted_folder(path: Path, *, sha256: str | None = None, notice: Callable[[str], None] | None = None) -> Path:
    """The safetensors folder of a GGUF file, made if it is not in the cache or is incomplete there.

    Raises: NotAModel if the file is no GGUF file that transformers can read.
    """
    sha256 = sha256 or _require_gguf(path)
    folder = cache_folder() / "gguf" / f"{sha256[:32]}-v{CONVERTER_VERSION}"
    if not _complete(folder):
        if notice is not None:
            notice(f"converting {path.name} (once)")
        with published_folder(folder) as temporary:
            _convert(path, temporary)
            sizes = {p.name: p.stat().st_size for p in temporary.iterdir()}
            (temporary / _MANIFEST).write_text(json.dumps({"source": path.name, "sha256": sha256, "sizes": sizes}))
    return folder


def _require_gguf(path: Path) -> str:
    if not path.is_file():
        raise NotAModel(f"{path} is no file; give the path of a .gguf file")
    try:
        with path.open("rb") as stream:
            if stream.read(4) != _MAGIC:
                raise NotAModel(f"{path} is no GGUF file: it does not begin with the letters GGUF; download it again")
        return file_sha256(path)
    except OSError as error:
        raise NotAModel(f"{path} cannot be read ({error.strerror}); allow reading it, or download it again") from error


def _complete(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / _MANIFEST).read_text())["sizes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def _convert(path: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    with quiet_loading(), _without_bar():
        try:
            tokenizer = AutoTokenizer.from_pretrained(path.parent, **options)
            loaded = AutoModelForCausalLM.from_pretrained(path.parent, dtype=DTYPES["fp32"], **options)
        except Exception as error:  # the reader raises ValueError, KeyError, IndexError, struct.error, ...
            reason = " ".join(str(error).split())[:160]
            raise NotAModel(
                f"{path} cannot be read as GGUF ({type(error).__name__}: {reason}); damaged, or of an unsupported kind"
            ) from error
        _require_finite(path, loaded)
        # The dequantised model still calls itself quantised and refuses to be saved: a plain one takes its tensors.
        config = type(loaded.config).from_dict(
            {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
        )
        with torch.device("meta"):
            plain = type(loaded)(config)
        plain.load_state_dict(loaded.state_dict(), assign=True)
        plain.tie_weights()
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@contextmanager
def _without_bar() -> Iterator[None]:
    """The GGUF reader draws its progress bar past every setting of the library; inside the block it draws none."""
    from transformers import modeling_gguf_pytorch_utils as reader

    bar = getattr(reader, "tqdm", None)
    try:
        reader.tqdm = lambda items, **_: items
        yield
    finally:
        reader.tqdm = bar


def _require_finite(path: Path, module: Any) -> None:
    for name, tensor in module.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise NotAModel(f"{path} is damaged: {name} holds NaN or infinite values; download it again")
