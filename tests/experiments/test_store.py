from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest

from beb.errors import BadSpec, SpecChanged, StoreBusy, StoreDamaged, StoreError, StoreFull
from beb.experiments.store import RUN_FILE, Store, reserved

META = {"spec": {"prompts": 5, "seed": 0}, "versions": {"torch": "2"}}
FAILURE = {"position": 0, "subject": "response", "kind": "timeout", "detail": "no answer"}


def test_rows_come_back_and_blobs_are_arrays(tmp_path: Path) -> None:
    import numpy as np

    from beb.experiments.schema import pack

    ids = [3, 1, 2]
    row = {
        "source": "negative", "prompt": 0, "seed": "7", "token_ids": pack("token_ids", ids),
        "log_probs": pack("log_probs", [-0.1, -0.2, -0.3]), "sentence_ends": pack("sentence_ends", [3]), "n_cut": 0,
        "text": "a\x00b",
    }  # fmt: skip
    with Store.open(tmp_path, META) as store:
        store.commit("sample/0", "sample", {"prompts": [row], "failures": [FAILURE]}, 0.5)
    with Store.read(tmp_path) as store:
        (back,) = store.rows("prompts")
        assert back["token_ids"].tolist() == ids
        assert back["text"] == "a\x00b"
        np.testing.assert_array_equal(back["log_probs"], [-0.1, -0.2, -0.3])
        assert store.rows("failures", kind="timeout")[0]["detail"] == "no answer"
        assert store.rows("failures", kind="other") == []
        assert store.done() == {"sample/0"}
        assert store.meta() == META


def test_an_item_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with Store.open(tmp_path, META) as store:
        with pytest.raises(StoreError, match="written twice"):
            store.commit("gate", "gate", {"failures": [FAILURE, FAILURE]}, 0.1)
        assert store.rows("failures") == []
        assert store.done() == set()


def test_a_changed_specification_is_refused_with_the_difference(tmp_path: Path) -> None:
    Store.open(tmp_path, META).close()
    before = (tmp_path / RUN_FILE).read_bytes()
    with pytest.raises(SpecChanged, match=r"spec\.prompts: 5 -> 9"):
        Store.open(tmp_path, {**META, "spec": {"prompts": 9, "seed": 0}})
    assert (tmp_path / RUN_FILE).read_bytes() == before


@pytest.mark.parametrize("damage", ["text", "middle", "truncated"])
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    Store.open(tmp_path, META).close()
    path = tmp_path / RUN_FILE
    content = bytearray(path.read_bytes())
    if damage == "text":
        content = bytearray(b"this is no database, but a text of some length" * 10)
    elif damage == "middle":
        content[4096:12000] = b"\xff" * (12000 - 4096)
    else:
        content = content[: len(content) // 2 + 100]
    path.write_bytes(content)
    for attempt in (lambda: Store.open(tmp_path, META), lambda: Store.read(tmp_path)):
        with pytest.raises(StoreDamaged) as caught:
            attempt()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / RUN_FILE)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreDamaged, match="not a run of beb"):
        Store.open(tmp_path, META)


def test_an_empty_file_left_by_a_kill_is_a_new_run(tmp_path: Path) -> None:
    (tmp_path / RUN_FILE).touch()
    with Store.open(tmp_path, META) as store:
        assert store.meta() == META


def _hold(folder: Path, ready: object, release: object) -> None:
    with Store.open(folder, META):
        ready.set()  # type: ignore[attr-defined]
        release.wait(30)  # type: ignore[attr-defined]


def test_a_second_process_is_told(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready, release))
    process.start()
    try:
        assert ready.wait(30)
        with pytest.raises(StoreBusy, match="in use by another process"):
            Store.open(tmp_path, META)
        with Store.read(tmp_path) as store:
            assert store.meta() == META
    finally:
        release.set()
        process.join(30)
    assert process.exitcode == 0
    Store.open(tmp_path, META).close()


def test_a_folder_is_held_before_there_is_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "run"
    with reserved(folder):
        with pytest.raises(StoreBusy, match="in use by another process"), reserved(folder):
            pass
        with pytest.raises(StoreBusy, match="in use by another process"):
            Store.open(folder, META)
    assert not list(tmp_path.iterdir()), "a run that did not come about has left something behind"
    with reserved(folder), Store.open(folder, META, is_reserved=True) as store:
        store.commit("a", "sample", {"failures": [FAILURE]}, 0.5)
    with reserved(folder), Store.open(folder, META, is_reserved=True) as store:
        assert store.done() == {"a"}


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    with reserved(tmp_path):
        pass
    assert tmp_path.is_dir()


def test_a_full_disk_keeps_what_was_finished(tmp_path: Path) -> None:
    with Store.open(tmp_path, META) as store:
        store.commit("first", "k", {"failures": [FAILURE]}, 0.1)
        store._connection.execute("PRAGMA max_page_count = 20")  # SQLite then answers as on a full disk
        huge = [{**FAILURE, "position": i, "detail": "x" * 4000} for i in range(100)]
        with pytest.raises(StoreFull, match="no space left"):
            store.commit("second", "k", {"failures": huge}, 0.1)
    with Store.open(tmp_path, META) as store:
        assert store.done() == {"first"}
        assert len(store.rows("failures")) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreFull, match="cannot be written"):
            Store.open(tmp_path / "run", META)
    finally:
        tmp_path.chmod(0o700)


def test_reading_what_is_no_run_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="no run in"):
        Store.read(tmp_path)
    Store.open(tmp_path, META).close()
    with Store.read(tmp_path) as store, pytest.raises(BadSpec, match="no table 'secrets'"):
        store.rows("secrets")


def test_looking_at_a_run_leaves_one_database_file(tmp_path: Path) -> None:
    with Store.open(tmp_path, META) as store:
        store.commit("first", "k", {"failures": [FAILURE]}, 0.1)
    with Store.read(tmp_path) as store:
        assert store.done() == {"first"}
        with pytest.raises(StoreFull):
            store.commit("second", "k", {}, 0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.lock", RUN_FILE]
