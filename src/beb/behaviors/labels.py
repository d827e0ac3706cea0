"""A behavior's scorer from labels that people gave."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from beb.behaviors.reading import class_of, read_csv
from beb.errors import BadSpec, BadStatements
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import CLASSES, Score, Scorer, ScorerInfo

_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n]")  # what a spreadsheet may run, and what already looks escaped

Votes = Mapping[str, Mapping[str, int]]
"""text -> rater -> index in CLASSES."""


class LabelScorer(Scorer):
    """The class that most raters gave a text, with probability 1; unlabelled or tied texts are failures.

    truth: the labels of the one rater define the behavior: the scorer is exact. Otherwise its errors are unknown.
    disagreement_rate: share of rater pairs on the same text that chose different classes; None with one rater.
    """

    def __init__(self, votes: Votes, *, name: str, truth: bool = False) -> None:
        raters = {rater for by_rater in votes.values() for rater in by_rater}
        if truth and len(raters) > 1:
            raise BadSpec(
                f"{name} has {len(raters)} raters and only one can be the truth; keep one rater's rows or drop truth"
            )
        self._votes = {_as_compared(text): dict(by_rater) for text, by_rater in votes.items()}
        self.disagreement_rate = _disagreement_rate(votes)
        content = json.dumps([sorted((t, sorted(v.items())) for t, v in self._votes.items()), truth])
        self.info = ScorerInfo(
            name=name,
            kind="labels",
            fingerprint=hashlib.sha256(content.encode()).hexdigest(),
            confusion=None,
            exact=truth,
            brier=None,
            calibration_error=None,
        )

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        """The label of each text; blank texts are neutral."""
        return [self._score(text) for text in texts]

    def _score(self, text: str) -> Score | Failure:
        if not text.strip():
            return Score(0.0, 1.0, 0.0)
        counts = Counter(self._votes.get(_as_compared(text), {}).values()).most_common(2)
        if not counts:
            return Failure("unlabelled", "no rater labelled this text; add it to the label file")
        if len(counts) == 2 and counts[0][1] == counts[1][1]:
            first, second = sorted(CLASSES[index] for index, _ in counts)
            return Failure("tied", f"as many raters say {first} as {second}; ask one more")
        return Score(*(float(index == counts[0][0]) for index in range(len(CLASSES))))


def load_labels(path: str | Path, *, truth: bool = False) -> LabelScorer:
    """Labels from a CSV with columns text, label (negative, neutral, positive or -1, 0, 1) and, if wished, rater.

    Rows with an empty label are unlabelled. truth: as in `LabelScorer`.
    Raises: BadStatements, with file and line; BadSpec.
    """
    path = Path(path)
    votes: dict[str, dict[str, int]] = {}
    for row in read_csv(path, columns=("text", "label")):
        index = class_of(path, row)
        if index is None:
            continue
        text, rater = _unescaped(row.cells["text"]), row.cells.get("rater", "").strip()
        given = votes.setdefault(_as_compared(text), {})
        if given.setdefault(rater, index) != index:
            who = f"rater {rater!r}" if rater else "the same rater"
            raise BadStatements(f"{path}, line {row.line}: {who} gave this text another label above; keep one")
    if not votes:
        raise BadStatements(f"{path}: no row has a label; fill the label column with negative, neutral or positive")
    return LabelScorer(votes, name=f"labels in {path.name}", truth=truth)


def write_template(path: str | Path, texts: Sequence[str]) -> None:
    """A CSV of the distinct texts with empty label and rater columns, for people to fill in a spreadsheet.

    White space around a text does not tell it from another.

    Texts that a spreadsheet would run as formulas get a leading apostrophe, which `load_labels` takes off again.
    Raises: BadSpec if the file exists, so that no filled-in label is lost.
    """
    try:
        # "x" refuses an existing file; the byte order mark tells spreadsheets that it is UTF-8
        with Path(path).open("x", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerow(["text", "label", "rater"])
            writer.writerows([_escaped(text), "", ""] for text in dict.fromkeys(map(_as_compared, texts)) if text)
    except OSError as error:
        raise BadSpec(f"{path}: cannot be written ({error.strerror or error}); give a new file") from error


def _escaped(text: str) -> str:
    return "'" + text if _FORMULA.match(text) else text


def _unescaped(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _as_compared(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()  # spreadsheets rewrite line ends


def _disagreement_rate(votes: Votes) -> float | None:
    pairs = [a != b for by_rater in votes.values() for a, b in itertools.combinations([*by_rater.values()], 2)]
    return sum(pairs) / len(pairs) if pairs else None
