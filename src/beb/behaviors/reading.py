"""Reading statement and label files, with the file and line of whatever is wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beb.errors import BadStatements
from beb.interfaces.scorer import CLASSES

_LABELS = {**{name: index for index, name in enumerate(CLASSES)}, "-1": 0, "0": 1, "1": 2, "+1": 2}
_DELIMITERS = (",", ";", "\t")  # spreadsheets write ; where the comma is the decimal mark


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row of a CSV file. line: where it ends in the file. cells: by lower-case column name."""

    line: int
    cells: dict[str, str]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file (a byte order mark is dropped).

    Raises: BadStatements if it cannot be read, is empty or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadStatements(f"{path}: cannot be read ({error.strerror or error}); give a readable file") from error
    if not raw.strip():
        raise BadStatements(f"{path}: the file is empty; give one statement per line")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadStatements(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from error


def read_lines(path: Path) -> list[str]:
    """The non-blank lines of a text file. Raises: BadStatements."""
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) for each non-blank line of a JSON Lines file. Raises: BadStatements."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "unreadable value"
            raise BadStatements(f"{path}, line {number}: not JSON ({reason}); each line is one JSON object") from error
        if not isinstance(record, dict):
            raise BadStatements(f"{path}, line {number}: not a JSON object; each line is one JSON object")
        yield number, record


def read_csv(path: Path, *, columns: Sequence[str]) -> list[CsvRow]:
    """The rows of a CSV file with a header that names `columns` (others may follow); blank rows are left out.

    Raises: BadStatements.
    """
    text = read_text(path)
    header = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header.count)
    rows: list[CsvRow] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = _column_names(path, cells, columns)
                continue
            if len(cells) != len(names):
                raise BadStatements(
                    f"{path}, line {reader.line_num}: {len(cells)} cells where the header has {len(names)}; "
                    "put texts that hold a comma in double quotes"
                )
            rows.append(CsvRow(reader.line_num, dict(zip(names, cells, strict=True))))
    except csv.Error as error:
        raise BadStatements(f"{path}, line {reader.line_num}: not CSV ({error}); quote texts as in RFC 4180") from error
    return rows


def class_of(path: Path, row: CsvRow) -> int | None:
    """Index in CLASSES of a row's label, None if it is empty. Raises: BadStatements."""
    label = row.cells["label"].strip().lower()
    if label and label not in _LABELS:
        raise BadStatements(
            f"{path}, line {row.line}: label is {row.cells['label']!r}; "
            "give negative, neutral or positive (or -1, 0, 1)"
        )
    return _LABELS[label] if label else None


def _column_names(path: Path, cells: Sequence[str], columns: Sequence[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    missing = [column for column in columns if column not in names]
    if missing:
        raise BadStatements(
            f"{path}, line 1: no column {missing[0]!r}; the first line must name the columns {', '.join(columns)}"
        )
    return names
