"""Questions in SQL: one SELECT over the catalog, which can neither change anything nor reach another file."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from g3m.core.errors import UsageError

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "writefile", "edit", "randomblob", "zeroblob"}
_STEPS = 10_000
_CELL_BYTES = 2**24
_LIMIT_LENGTH = 0
"""SQLITE_LIMIT_LENGTH, which the module names from Python 3.11 on."""
_SQL_LIMIT = 100_000

_HINT = (
    'one SELECT over the view `samples` or the tables; `g3m sql "SELECT sql FROM sqlite_master"` shows them',
    '只能使用一条 SELECT，查询视图 `samples` 或各数据表；`g3m sql "SELECT sql FROM sqlite_master"` 可列出',
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Names of columns, and rows; `is_cut`: there are more rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool = False


def ask(db: sqlite3.Connection, text: str, limit: int, seconds: float) -> Answer:
    """Execute a SELECT; UsageError with SQLite's own words where it is none, is wrong or takes too long.

    The connection is not good for anything else afterwards.
    """
    end_s = time.monotonic() + seconds
    if len(text) > _SQL_LIMIT:
        raise UsageError(f"the question has more than {_SQL_LIMIT} characters", hint=_HINT)
    db.execute("PRAGMA query_only = ON")
    if hasattr(db, "setlimit"):  # from Python 3.11 on
        db.setlimit(_LIMIT_LENGTH, _CELL_BYTES)
    db.execute("SELECT 1 FROM found LIMIT 0")  # connects the table, which the authorizer would refuse
    db.set_authorizer(_authorize)
    db.set_progress_handler(lambda: int(time.monotonic() > end_s), _STEPS)
    try:
        cursor = db.execute(text)
        rows = cursor.fetchmany(limit + 1)
    except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError, OverflowError) as error:
        words = str(error)
        if "interrupted" in words:
            words = f"it took longer than {seconds:g} s"
        elif "prohibited" in words or "authorized" in words:
            words = f"only reading is allowed ({words})"
        elif "disk image is malformed" in words or "not a database" in words:
            raise
        raise UsageError(f"the question cannot be answered: {words}", hint=_HINT) from None
    finally:
        db.set_progress_handler(None, 0)
        db.set_authorizer(None)
    if cursor.description is None:
        raise UsageError("the question cannot be answered: it is no SELECT", hint=_HINT)
    columns = tuple(name for name, *_ in cursor.description)
    return Answer(columns, tuple(rows[:limit]), len(rows) > limit)


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action in _ALLOWED:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first == "data_version" and second is None:
        return sqlite3.SQLITE_OK  # FTS5 asks it
    return sqlite3.SQLITE_DENY
