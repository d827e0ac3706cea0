"""A run folder: one SQLite file (WAL) to which only one process writes, one atomic commit per work item."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from beb.errors import BadSpec, SpecChanged, StoreBusy, StoreDamaged, StoreError, StoreFull
from beb.experiments import schema
from beb.models.server_address import without_client_options

RUN_FILE = "run.sqlite"
LOCK_FILE = "run.lock"
Row = Mapping[str, Any]
Rows = dict[str, list[dict[str, Any]]]
"""What a work item brings: table -> rows, blobs packed."""


@contextmanager
def mapped_errors(path: Path) -> Iterator[None]:
    """Turn errors of sqlite3 and the file system into one line that names the run."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise StoreFull(f"no space left for {path}; finished work is kept: free space and run again") from error
        if "readonly" in text or "unable to open" in text:
            raise StoreFull(f"{path} cannot be written ({text}); choose another --out or change its rights") from error
        if "locked" in text:
            raise StoreBusy(f"{path} is in use by another process; wait for it or choose another --out") from error
        raise StoreDamaged(f"{path} cannot be read as a run ({text}); it was left as it is") from error
    except sqlite3.IntegrityError as error:
        raise StoreError(
            f"{path}: a row was about to be written twice ({error}); finished work is kept: please report this fault "
            "of the program, with the command"
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(_damaged(path, error)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"no space left for {path}; finished work is kept: free space and run again") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreFull(f"{path} cannot be written ({error.strerror}); choose another --out") from error
        raise StoreError(f"{path} cannot be used ({error.strerror or error}); choose another --out") from error


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if absent: only this process may write there, and it can.

    What was made for a run that does not come about is removed again.
    Raises: StoreBusy, StoreFull, StoreError.
    """
    made = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        with mapped_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder)
        try:
            with mapped_errors(folder):
                for path in (folder, folder / RUN_FILE):
                    if path.exists() and not os.access(path, os.W_OK):
                        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            yield
        finally:
            if made and not (folder / RUN_FILE).exists():
                (folder / LOCK_FILE).unlink(missing_ok=True)
            lock.close()
    finally:
        for each in made:
            with suppress(OSError):  # it is not empty: there is a run, or another one has begun
                each.rmdir()


class Store:
    """One run: its specification, what has been done, and every row.

    Open with `Store.open` (to add work) or `Store.read` (to look); use as a context manager.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: Any) -> None:
        self.folder = folder
        self.path = folder / RUN_FILE
        self._connection = connection
        self._lock = lock

    @classmethod
    def open(cls, folder: Path, meta: Mapping[str, Any], *, is_reserved: bool = False) -> Store:
        """Create the run, or continue it if its stored `meta` is the same.

        meta: everything that determines the rows (specification, fingerprints, versions); JSON values. is_reserved:
        whether the caller holds the folder by `reserved`.
        Raises: SpecChanged with the differences, StoreDamaged, StoreBusy, StoreFull.
        """
        path = folder / RUN_FILE
        with mapped_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
            lock = None if is_reserved else _lock(folder)
            is_new = not path.exists() or path.stat().st_size == 0
            connection = _connect(path)
            try:
                if is_new:
                    _create_or_remove(connection, path, meta)
                else:
                    _check(connection, path)
                store = cls(folder, connection, lock)
                store.refuse_changes(meta)
            except BaseException:
                connection.close()
                if lock is not None:
                    lock.close()
                raise
        return store

    @classmethod
    def read(cls, folder: Path) -> Store:
        """Open an existing run to look at it. Raises: BadSpec if there is none, StoreDamaged."""
        path = folder / RUN_FILE
        if not path.is_file():
            raise BadSpec(
                f"no run in {folder}: expected the file {RUN_FILE}; give the folder that `beb measure --out` wrote"
            )
        with mapped_errors(path):
            connection = _connect_to_read(path)
            try:
                _check(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(folder, connection, None)

    @classmethod
    def in_memory(cls, meta: Mapping[str, Any]) -> Store:
        """A run without a file: what a worker on another machine reads from. See `hold`."""
        connection = sqlite3.connect(":memory:")
        _create(connection, json.loads(json.dumps(dict(meta))))
        return cls(Path(), connection, None)

    def hold(self, finished: Mapping[str, Rows]) -> None:
        """Hold the rows of these finished items, by key, and nothing else; for a store in memory alone."""
        with mapped_errors(self.path), self._connection:
            for table in schema.ROW_TABLES:
                self._connection.execute(f"DELETE FROM {table}")
            for item, rows in finished.items():
                self._insert(item, rows)

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def meta(self) -> dict[str, Any]:
        """What determines the rows, as stored."""
        with mapped_errors(self.path):
            return {key: json.loads(value) for key, value in self._connection.execute("SELECT key, value FROM meta")}

    def done(self) -> set[str]:
        """Keys of the finished work items."""
        with mapped_errors(self.path):
            return {row[0] for row in self._connection.execute("SELECT item FROM items")}

    def commit(self, item: str, kind: str, rows: Mapping[str, Sequence[Row]], seconds: float) -> None:
        """Write all rows of one finished item in a single transaction."""
        with mapped_errors(self.path), self._connection:
            self._insert(item, rows)
            self._connection.execute("INSERT INTO items (item, kind) VALUES (?, ?)", (item, kind))
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._connection.execute("INSERT INTO timings VALUES (?, ?, ?)", (item, now, seconds))

    def _insert(self, item: str, rows: Mapping[str, Sequence[Row]]) -> None:
        for table, table_rows in rows.items():
            for row in table_rows:
                columns = ("item", *row)
                marks = ", ".join("?" * len(columns))
                statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
                self._connection.execute(statement, (item, *row.values()))

    def written_by(self, items: Container[str]) -> dict[str, Rows]:
        """What each of these finished items brought, by key, as it was committed; an item without rows is left out."""
        found: dict[str, Rows] = {}
        with mapped_errors(self.path):
            for table in schema.ROW_TABLES:
                cursor = self._connection.execute(f"SELECT * FROM {table}")
                names = [column[0] for column in cursor.description]
                for values in cursor:
                    row = dict(zip(names, values, strict=True))
                    if (item := row.pop("item")) in items:
                        found.setdefault(item, {}).setdefault(table, []).append(row)
        return found

    def rows(self, table: str, **equal: str | int) -> list[dict[str, Any]]:
        """Rows of a table in primary-key order, blobs decoded to arrays; `equal` filters columns by value."""
        if table not in (*schema.ROW_TABLES, *schema.VOLATILE_TABLES, "items"):
            raise BadSpec(f"no table {table!r} in a run; there are {', '.join(schema.ROW_TABLES)}")
        where = " AND ".join(f"{column} = ?" for column in equal)
        order = ", ".join(self._key(table))
        query = (
            f"SELECT * FROM {table}" + (f" WHERE {where}" if where else "") + (f" ORDER BY {order}" if order else "")
        )
        with mapped_errors(self.path):
            cursor = self._connection.execute(query, tuple(equal.values()))
            names = [column[0] for column in cursor.description]
            return [
                {
                    name: schema.unpack(name, v) if isinstance(v, bytes) else v
                    for name, v in zip(names, row, strict=True)
                }
                for row in cursor
            ]

    def _key(self, table: str) -> list[str]:
        info = self._connection.execute(f"PRAGMA table_info({table})").fetchall()
        return [row[1] for row in sorted((r for r in info if r[5]), key=lambda r: r[5])]

    def refuse_changes(self, meta: Mapping[str, Any]) -> None:
        """Raise SpecChanged with the differences if a key of `meta` is not what the run was made with.

        How a server is asked (how often, how long, how much at once) may change: the rows are the same.
        """
        old = self.meta()
        changes = differences(_of_rows({key: old.get(key) for key in meta}), _of_rows(meta))
        if changes:
            raise SpecChanged(
                f"{self.folder} holds a run with another specification ({'; '.join(changes)}); "
                "use the same options, or another --out"
            )


def _of_rows(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What determines the rows, without the options of servers' clients in the specification."""
    return {key: _without_client_options(value) if key == "spec" else value for key, value in meta.items()}


def _without_client_options(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_client_options(each) for key, each in value.items()}
    return without_client_options(value) if isinstance(value, str) else value


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What two records of JSON values differ in, as "name: before -> after"."""
    found = _differences("", *(json.loads(json.dumps(dict(each))) for each in (old, new)))
    return [f"{name}: {_short(before)} -> {_short(after)}" for name, before, after in found]


def _differences(prefix: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(f"{prefix}.{key}" if prefix else key, old.get(key), new.get(key))
    elif old != new:
        yield prefix, old, new


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _lock(folder: Path) -> Any:
    path = folder / LOCK_FILE
    handle = path.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(handle.fileno())):
            raise BlockingIOError(errno.EAGAIN, "removed by the process that held it")
    except OSError as error:
        handle.close()
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise StoreBusy(f"{folder} is in use by another process; wait for it or choose another --out") from error
        raise
    return handle


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=5)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes no row; it may fold the log of a killed writer into the file, as any reader of WAL."""
    if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
        connection = _connect(path)
        connection.execute("PRAGMA query_only = ON")
        return connection
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _create(connection: sqlite3.Connection, meta: Mapping[str, Any]) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        for statement in schema.DDL.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in sorted(meta.items())])
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")


def _create_or_remove(connection: sqlite3.Connection, path: Path, meta: Mapping[str, Any]) -> None:
    """As `_create`; if that fails, for example on a full disk, no file stays that would be refused as no run."""
    try:
        _create(connection, meta)
    except BaseException:
        connection.close()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        raise


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != schema.APPLICATION_ID:
        raise StoreDamaged(f"{path} is not a run of beb; it was left as it is: choose another --out")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != schema.SCHEMA_VERSION:
        raise StoreDamaged(
            f"{path} has schema version {version} and this program reads {schema.SCHEMA_VERSION}; "
            "use the version of beb that wrote it"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreDamaged(_damaged(path, verdict))


def _damaged(path: Path, reason: object) -> str:
    text = " ".join(str(reason).split())
    return f"{path} is damaged ({text}); it was left as it is: restore a copy or choose another --out"
