"""Embedded packs, and loading behaviors from files."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from beb.behaviors.behavior import Behavior, comparison_key
from beb.behaviors.evaluation import near_duplicate_groups
from beb.behaviors.packs import DEFAULT_QUESTION, known_behaviors, load_behavior, neutral_statements
from beb.errors import BadStatements, UnknownName

FIRST_PERSON = re.compile(r"\b(I|I'm|I've|I'd|I'll|my|me|we|our|us|mine|myself)\b", re.IGNORECASE)


def lines(pole: str, n: int = 25) -> list[str]:
    return [f"I say {pole} thing {i}" for i in range(n)]


def perez_row(statement: str, answer: str) -> str:
    return json.dumps({"question": f'Would you say "{statement}"?', "statement": statement,
                       "label_confidence": 0.9, "answer_matching_behavior": answer})  # fmt: skip


def perez_file(folder: Path, *extra: str) -> Path:
    rows = [perez_row(s, " Yes") for s in lines("matching")] + [perez_row(s, " No") for s in lines("other")]
    path = folder / "likes-tea.jsonl"
    path.write_text("\n".join([*rows, *extra]) + "\n", encoding="utf-8")
    return path


def csv_file(folder: Path, *extra: str, header: str = "text,label") -> Path:
    rows = [f"{s},negative" for s in lines("bad")] + [f'"{s}, you know",1' for s in lines("good")]
    path = folder / "tea.csv"
    path.write_text("\n".join([header, *rows, *extra]) + "\n", encoding="utf-8")
    return path


def text_folder(folder: Path, **files: str) -> Path:
    path = folder / "tea"
    path.mkdir()
    contents = {"negative": "\n".join(lines("bad")), "positive": "\r\n\r\n".join(lines("good")), **files}
    for name, content in contents.items():
        (path / (name if "." in name else f"{name}.txt")).write_text(content, encoding="utf-8")
    return path


# ---- embedded packs


def test_the_four_packs_are_known() -> None:
    assert {"agreeableness", "conscientiousness", "honesty", "oversight"} <= set(known_behaviors())


@pytest.mark.parametrize("name", known_behaviors())
def test_pack_is_large_distinct_and_well_formed(name: str) -> None:
    pack = load_behavior(name)  # itself refuses repeats within and across the classes
    assert pack.name == name
    assert all((pack.description, pack.question.endswith("?"), pack.source))
    assert len(pack.negative) >= 120
    assert len(pack.positive) >= 120
    assert len(pack.neutral) >= 150
    for statement in (*pack.negative, *pack.positive, *pack.neutral):
        assert 8 <= len(statement) <= 200, statement
        assert statement == statement.strip(), statement
    for statement in (*pack.negative, *pack.positive):
        assert FIRST_PERSON.search(statement), statement


@pytest.mark.parametrize("name", known_behaviors())
def test_pack_files_hold_no_repeats_and_end_their_sentences(name: str) -> None:
    from importlib import resources

    folder = resources.files("beb.behaviors") / "packs"
    written = [
        line
        for part in (folder / name / "negative.txt", folder / name / "positive.txt", folder / "neutral.txt")
        for line in part.read_text(encoding="utf-8").splitlines()
    ]
    assert all(line.endswith((".", "!", "?")) for line in written)
    assert len({comparison_key(line) for line in written}) == len(written)


@pytest.mark.parametrize("name", known_behaviors())
def test_pack_holds_no_near_duplicates(name: str) -> None:
    pack = load_behavior(name)
    texts = (*pack.negative, *pack.positive, *pack.neutral)
    first: dict[int, str] = {}
    near = [(first[group], text) for text, group in zip(texts, near_duplicate_groups(texts).tolist(), strict=True)
            if first.setdefault(group, text) != text]  # fmt: skip
    assert near == []


# ---- loaders


def test_perez_file_names_the_positive_pole(tmp_path: Path) -> None:
    loaded = load_behavior(perez_file(tmp_path, perez_row("I  say MATCHING thing 0!", " Yes"), ""))
    assert loaded.name == "likes-tea"
    assert loaded.positive == tuple(f"{s}." for s in lines("matching"))
    assert loaded.negative == tuple(f"{s}." for s in lines("other"))
    assert loaded.neutral == neutral_statements()


def test_an_undesired_behavior_is_the_negative_pole(tmp_path: Path) -> None:
    path = perez_file(tmp_path)
    assert load_behavior(str(path), undesired=True).negative == load_behavior(path).positive


def test_csv_with_both_kinds_of_labels_and_its_own_neutral_class(tmp_path: Path) -> None:
    loaded = load_behavior(csv_file(tmp_path, *(f"{s},0" for s in lines("flat"))))
    assert loaded.negative[0] == "I say bad thing 0."
    assert loaded.positive[0] == "I say good thing 0, you know."
    assert loaded.neutral == tuple(f"{s}." for s in lines("flat"))


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_as_spreadsheets_elsewhere_write_it(tmp_path: Path, delimiter: str) -> None:
    rows = [f"{pole} says, {s}{delimiter}{pole}" for pole in ("negative", "positive") for s in lines(pole)]
    path = tmp_path / "tea.csv"
    path.write_text("\ufeff" + "\r\n".join([f"Text{delimiter}Label", *rows]), encoding="utf-8")
    assert load_behavior(path).negative[0] == "negative says, I say negative thing 0."


def test_folder_of_text_files(tmp_path: Path) -> None:
    about = 'name = "tea time"\nquestion = "Tea?"\nsource = "me"\nlicense = "CC0"\n'
    plain = load_behavior(text_folder(tmp_path))
    assert (plain.name, plain.question, plain.positive[1]) == ("tea", DEFAULT_QUESTION, "I say good thing 1.")
    (tmp_path / "tea" / "pack.toml").write_text(about)
    named = load_behavior(tmp_path / "tea")
    assert (named.name, named.question, named.source) == ("tea time", "Tea?", "me, CC0")


def test_given_neutral_statements_win(tmp_path: Path) -> None:
    neutral = [f"Stone number {i} is grey." for i in range(20)]
    assert load_behavior(text_folder(tmp_path, neutral="It is wet."), neutral=neutral).neutral == tuple(neutral)


def test_embedded_neutral_statements_yield_to_the_poles(tmp_path: Path) -> None:
    claimed = neutral_statements()[0]
    loaded = load_behavior(text_folder(tmp_path, positive="\n".join([*lines("good"), claimed])))
    assert claimed in loaded.positive
    assert claimed not in loaded.neutral


NEEDS = "a folder with negative.txt and positive.txt, a .jsonl, a .csv, or owner/data-set:file.jsonl"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: perez_file(d, "{oops"), "{d}/likes-tea.jsonl, line 51: not JSON (Expecting property name enclosed "
         "in double quotes); each line is one JSON object"),
        (lambda d: perez_file(d, "[1]"), "{d}/likes-tea.jsonl, line 51: not a JSON object; each line is one JSON "
         "object"),
        (lambda d: perez_file(d, "", '{"statement": "I am."}'), "{d}/likes-tea.jsonl, line 52: no text field "
         "'answer_matching_behavior'; see Perez et al. 2022 for the format"),
        (lambda d: perez_file(d, perez_row("I am.", " (A)")), "{d}/likes-tea.jsonl, line 51: answer_matching_behavior "
         "is ' (A)'; only ' Yes' and ' No' say which pole a statement is of"),
        (lambda d: perez_file(d, perez_row(" .", " No")), "{d}/likes-tea.jsonl, line 51: the statement is empty; "
         "remove the line"),
        (lambda d: perez_file(d, perez_row("I SAY matching thing 2", " No")), "behavior 'likes-tea' says the same "
         "twice: 'I SAY matching thing 2.' (negative) and 'I say matching thing 2.' (positive); keep one of each"),
        (lambda d: csv_file(d, "I am,bad"), "{d}/tea.csv, line 52: label is 'bad'; give negative, neutral or positive "
         "(or -1, 0, 1)"),
        (lambda d: csv_file(d, "I am,"), "{d}/tea.csv, line 52: no label; give negative, neutral or positive "
         "(or -1, 0, 1)"),
        (lambda d: csv_file(d, "I, am,1"), "{d}/tea.csv, line 52: 3 cells where the header has 2; put texts that hold "
         "a comma in double quotes"),
        (lambda d: csv_file(d, '"I am,1'), "{d}/tea.csv, line 52: not CSV (unexpected end of data); quote texts as in "
         "RFC 4180"),
        (lambda d: csv_file(d, " ,1"), "{d}/tea.csv, line 52: the text is empty; remove the row"),
        (lambda d: csv_file(d, header="statement,label"), "{d}/tea.csv, line 1: no column 'text'; the first line must "
         "name the columns text, label"),
        (lambda d: csv_file(d, "It is wet,0"), "behavior 'tea' has 1 neutral statements and needs at least 20; "
         "add more"),
        (lambda d: text_folder(d, negative=" \n"), "{d}/tea/negative.txt: the file is empty; give one statement per "
         "line"),
        (lambda d: text_folder(d, **{"pack.toml": "name = tea"}), "{d}/tea/pack.toml: not TOML (Invalid value (at "
         "line 1, column 8)); see an embedded pack.toml"),
        (lambda d: text_folder(d, **{"pack.toml": "name = 3"}), "{d}/tea/pack.toml: name is not a text; put it in "
         "double quotes"),
        (lambda d: d, "{d}: no negative.txt; the folder must hold negative.txt and positive.txt"),
        (lambda d: d / "none.jsonl", "{d}/none.jsonl: no such file or folder; give " + NEEDS),
        (lambda d: text_folder(d) / "negative.txt", "{d}/tea/negative.txt: not a behavior; give " + NEEDS),
    ],
)  # fmt: skip
def test_unusable_files_are_refused_with_file_and_line(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(BadStatements) as caught:
        load_behavior(make(tmp_path))
    assert str(caught.value) == message.replace("{d}", str(tmp_path))


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = text_folder(tmp_path)
    (path / "negative.txt").write_bytes("I am.\nI drink caf\u00e9.\n".encode("latin-1"))
    with pytest.raises(BadStatements, match=r"negative\.txt, line 2: not UTF-8; save the file as UTF-8$"):
        load_behavior(path)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"^unknown behavior 'honest'; did you mean 'honesty'\? Known: agreeableness"):
        load_behavior("honest")


def test_a_hub_data_set_without_a_connection_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    name = "Anthropic/model-written-evals:persona/agreeableness.jsonl"
    with pytest.raises(BadStatements) as caught:
        load_behavior(name)
    assert str(caught.value).startswith(f"{name}: cannot be fetched (")
    assert str(caught.value).endswith("check the name and the connection, or give the path of a downloaded file")
    assert "\n" not in str(caught.value)


def test_offline_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    asked: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    name = "owner/set:persona/likes-tea.jsonl"
    with pytest.raises(BadStatements) as caught:
        load_behavior(name, offline=True)
    assert str(caught.value) == (
        f"{name}: not in the local hub cache, and offline nothing is fetched; run once without offline, or give the "
        "path of a downloaded file"
    )
    assert asked == []
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("localhost", 9))
    assert len(asked) == 1  # the trap does catch who asks


@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_data_set_already_in_the_cache_needs_no_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: bool
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 40
    repository = tmp_path / "datasets--owner--set"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    folder = repository / "snapshots" / commit / "persona"
    folder.mkdir(parents=True)
    perez_file(folder)
    assert isinstance(load_behavior("owner/set:persona/likes-tea.jsonl", offline=offline), Behavior)
