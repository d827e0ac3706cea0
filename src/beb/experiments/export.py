"""A run's tables and estimates as parquet, CSV or JSON files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from beb.errors import BebError
from beb.experiments import schema
from beb.experiments.registry import analyse
from beb.experiments.store import Store, mapped_errors

SPREADSHEET_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_run(run: Path, to: str, folder: Path) -> list[Path]:
    """Write every table, `meta` and (for a complete run) `estimates`.

    to: "parquet", "csv" or "json". Lists stay lists in parquet and JSON and are JSON text in CSV; CSV text cells that a
    spreadsheet would take for a formula get a leading apostrophe.
    Returns: the files written. Raises: StoreError kinds.
    """
    with Store.read(run) as store, mapped_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tables = {name: pd.DataFrame(store.rows(name)) for name in (*schema.ROW_TABLES, *schema.VOLATILE_TABLES)}
        try:
            tables["estimates"] = analyse(store).to_frame()
        except BebError as error:
            tables["estimates"] = pd.DataFrame([{"not computed": str(error)}])
        written = [_write(frame, folder / f"{name}.{to}", to) for name, frame in tables.items()]
        meta = folder / "meta.json"
        _replace(meta, json.dumps(store.meta(), indent=1, ensure_ascii=False).encode())
    return [*written, meta]


def _write(frame: pd.DataFrame, path: Path, to: str) -> Path:
    lists = frame.map(lambda cell: cell.tolist() if isinstance(cell, np.ndarray) else cell)
    if to == "parquet":
        temporary = path.with_suffix(path.suffix + ".part")
        lists.to_parquet(temporary, index=False)
        os.replace(temporary, path)
    elif to == "json":
        _replace(path, lists.to_json(orient="records", force_ascii=False, double_precision=15, indent=1).encode())
    else:
        _replace(path, lists.map(_csv_cell).to_csv(index=False).encode())
    return path


def _csv_cell(cell: Any) -> Any:
    if isinstance(cell, list):
        return json.dumps(cell)
    if isinstance(cell, str) and cell.startswith(SPREADSHEET_FORMULA):
        return "'" + cell
    return cell


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
