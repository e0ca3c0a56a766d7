"""What is answered when something is not there, cannot be answered now, or went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from g3m.core.browse import BadView
from g3m.core.errors import Bilingual, G3MError, Locked
from g3m.core.query import BadQuery
from g3m.ui.web.facts import Gone, NeedsCatalog, NotHere, Rewriting

REWRITING_S = 5
"""After so long, who came while shards were exchanged may ask again; a browser's page does so by itself."""

LOCKED_S = 10
"""The same where another process wrote to the catalog for longer than was waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The page about it. `name` is part of keys of the words; after `again_s` it may be asked again."""

    name: str
    status: int
    detail: str | Bilingual = ""
    hint: Bilingual | None = None
    again_s: int = 0


def of(error: Exception) -> Problem:
    """What is said about an exception."""
    if isinstance(error, Rewriting):
        return Problem(name="rewriting", status=503, detail=str(error), again_s=REWRITING_S)
    if isinstance(error, Gone):
        return Problem(name="gone", status=410, detail=str(error))
    if isinstance(error, NotHere):
        return Problem(name="not-here", status=404, detail=str(error))
    if isinstance(error, NeedsCatalog):
        return Problem(name="needs-catalog", status=200)
    if isinstance(error, (BadView, BadQuery)):
        return Problem(name="bad-view", status=400, detail=error.both)
    if isinstance(error, G3MError):
        titles = [f"{error.code}: {title}. {error.message}" for title in error.title]
        status, again_s = (503, LOCKED_S) if isinstance(error, Locked) else (500, 0)
        return Problem(
            name="failed", status=status, detail=(titles[0], titles[1]), hint=error.hint, again_s=again_s
        )
    if isinstance(error, HTTPException):
        names = {404: "no-page", 405: "no-method"}
        return Problem(name=names.get(error.status_code, "broken"), status=error.status_code)
    return Problem(name="broken", status=500, detail=type(error).__name__)


def handlers(
    answer: Callable[[Request, Problem], Response],
) -> dict[Any, Callable[[Request, Any], Response]]:
    """What Starlette asks for each of these exceptions."""

    def handle(request: Request, error: Exception) -> Response:
        return answer(request, of(error))

    kinds = (Rewriting, Gone, NotHere, NeedsCatalog, BadView, BadQuery, G3MError, HTTPException, Exception)
    return dict.fromkeys(kinds, handle)
