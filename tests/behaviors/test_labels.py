"""Human labels: what counts, what fails, and the template that people fill."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beb.behaviors.labels import LabelScorer, load_labels, write_template
from beb.errors import BadSpec, BadStatements
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score


def label_file(folder: Path, *rows: str, header: str = "text,label,rater") -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return path


def fill_in(path: Path, label: str) -> None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *[[text, label, rater] for text, _, rater in rows]])


def test_majority_ties_blanks_and_missing_labels(tmp_path: Path) -> None:
    rows = [
        *("Be kind.,1,ann", "Be kind.,positive,bob", "Be kind.,0,eve"),
        *("Go away.,-1,ann", "Go away.,1,bob"),
        *("It rains.,neutral,ann", "Unseen.,,ann"),
    ]
    scorer = load_labels(label_file(tmp_path, *rows))
    kind, away, rains, unseen, other, blank = scorer.score(
        ["Be kind.", "Go away.", " It rains.\r\n", "Unseen.", "Other.", " \n"]
    )
    assert kind == Score(0, 0, 1)
    assert away == Failure("tied", "as many raters say negative as positive; ask one more")
    assert rains == Score(0, 1, 0)
    assert unseen == other == Failure("unlabelled", "no rater labelled this text; add it to the label file")
    assert blank == Score(0, 1, 0)
    # of the 4 pairs of raters on one text, ann-eve, bob-eve and ann-bob on "Go away." differ
    assert scorer.disagreement_rate == 3 / 4
    assert scorer.info.confusion is None
    assert not scorer.info.exact


def test_one_rater_may_be_the_truth_and_two_may_not(tmp_path: Path) -> None:
    alone = load_labels(label_file(tmp_path, "Be kind.,1", header="text,label"), truth=True)
    assert alone.info.exact
    assert alone.disagreement_rate is None
    with pytest.raises(BadSpec, match=r"^labels in labels\.csv has 2 raters and only one can be the truth; keep one"):
        load_labels(label_file(tmp_path, "Be kind.,1,ann", "Go.,0,bob"), truth=True)


def test_fingerprint_follows_the_votes(tmp_path: Path) -> None:
    first = load_labels(label_file(tmp_path, "a b c.,1,ann", "d e f.,0,ann")).info.fingerprint
    assert load_labels(label_file(tmp_path, "d e f.,0,ann", "a b c.,+1,ann")).info.fingerprint == first
    assert load_labels(label_file(tmp_path, "a b c.,0,ann", "d e f.,0,ann")).info.fingerprint != first


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["Be kind.,good,ann"], ", line 2: label is 'good'; give negative, neutral or positive (or -1, 0, 1)"),
        (["Be kind.,1,ann", "Be kind.,0,ann"],
         ", line 3: rater 'ann' gave this text another label above; keep one"),
        (["Be kind.,1,", "Be kind.,0,"], ", line 3: the same rater gave this text another label above; keep one"),
        (["Be kind.,,ann"], ": no row has a label; fill the label column with negative, neutral or positive"),
        ([], ": no row has a label; fill the label column with negative, neutral or positive"),
    ],
)  # fmt: skip
def test_unusable_label_files_are_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    path = label_file(tmp_path, *rows)
    with pytest.raises(BadStatements) as caught:
        load_labels(path)
    assert str(caught.value) == f"{path}{message}"


DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "'=x", "''-x", "\t=2", " =3", "\r\n=4", "'quoted'", 'a "b", c', "x\ny"]
texts = st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.one_of(st.permutations(DANGEROUS), texts))
def test_a_filled_template_labels_exactly_its_texts_and_runs_nothing(tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "template.csv"
    path.unlink(missing_ok=True)
    write_template(path, [*texts, "always here"])
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = [row[0] for row in csv.reader(file)][1:]
    assert not any(cell.lstrip(" \t\r\n")[:1] in {"=", "+", "-", "@"} for cell in cells if cell)
    assert not any(cell.startswith(("\t", "\r", "\n")) for cell in cells)
    fill_in(path, "1")
    assert load_labels(path).score(texts) == [Score(0, 0, 1) if t.strip() else Score(0, 1, 0) for t in texts]


def test_texts_that_differ_only_by_an_apostrophe_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "template.csv"
    write_template(path, ["=x", "'=x", "''=x"])
    filled = path.read_text(encoding="utf-8-sig").splitlines()
    filled[2] = filled[2].replace('"",""', '"-1","ann"')
    path.write_text("\n".join(filled), encoding="utf-8")
    equals, quoted, twice = load_labels(path).score(["=x", "'=x", "''=x"])
    assert isinstance(equals, Failure)
    assert quoted == Score(1, 0, 0)
    assert isinstance(twice, Failure)


def test_a_text_is_asked_for_once_whatever_surrounds_it(tmp_path: Path) -> None:
    path = tmp_path / "template.csv"
    write_template(path, ["Be kind.", " Be kind.", "Be kind.\r\n", "  "])
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["text", "Be kind."]


def test_a_template_never_overwrites_labels(tmp_path: Path) -> None:
    path = label_file(tmp_path, "Be kind.,1,ann")
    with pytest.raises(BadSpec, match=r"cannot be written \(File exists\); give a new file$"):
        write_template(path, ["Go."])
    assert "Be kind." in path.read_text()


def test_votes_in_memory_are_enough() -> None:
    assert LabelScorer({"Go.": {"ann": 0}}, name="mine", truth=True).score(["Go."]) == [Score(1, 0, 0)]
