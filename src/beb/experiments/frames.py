"""A record of numbers as a tidy table and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import pandas as pd

from beb.core.estimate import Band, Estimate

COLUMNS = ("quantity", "sentences", "value", "low", "high", "level", "n", "unit", "method")


def to_frame(record: Any) -> pd.DataFrame:
    """One row per number of a record, however deep it lies; a nested record names its rows by its `row_label`."""
    return pd.DataFrame(list(_rows("", record)), columns=list(COLUMNS))


def to_json(record: Any) -> str:
    """All fields as JSON; infinite limits become the strings "inf" and "-inf"."""
    return json.dumps(plain(record), indent=1, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return value


def _rows(name: str, value: Any) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, Estimate):
        yield (name, None, value.value, value.low, value.high, value.level, value.n, value.unit, value.method)
    elif isinstance(value, Band):
        for i, length in enumerate(value.lengths):
            yield (
                name, length, value.value[i], value.low[i], value.high[i], value.level, value.n, value.unit,
                value.method + "; simultaneous limits",
            )  # fmt: skip
    elif is_dataclass(value) and not isinstance(value, type):
        label = getattr(value, "row_label", "")
        for field in dataclasses.fields(value):
            yield from _rows(".".join(part for part in (name, label, field.name) if part), getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _rows(f"{name}.{key}", item)
    elif isinstance(value, tuple) and value and (is_dataclass(value[0])):
        for i, item in enumerate(value):
            yield from _rows(name if getattr(item, "row_label", "") else f"{name}.{i}", item)
