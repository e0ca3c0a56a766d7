"""judge: what came for a row becomes the picture of a sample, or a reason why not.

In this order: is it what the list says (sha256), is it a picture whose header can be read, is it large and
square enough, and then what the treatment says (steps/treat.py). Bytes are kept as they came unless something
has to change.
"""

from __future__ import annotations

import hashlib
import re

from g3m.adapters.guard import Guard
from g3m.core.gathering import Gathering, Row
from g3m.core.structure import Structure, look
from g3m.core.treatment import Treatment
from g3m.steps.outcome import Outcome
from g3m.steps.treat import Treater

EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp", "tiff": "tiff"}
"""The extension of a picture follows from its bytes, never from its URL."""

MISMATCH = "hash_mismatch"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Judge:
    """Judges bodies in one way; any number of threads may share it."""

    def __init__(self, gathering: Gathering, treatment: Treatment, guard: Guard | None) -> None:
        self._gathering = gathering
        self._treater = Treater(treatment, guard)
        self.takes_long = treatment.decodes or treatment.redraws or treatment.action("no_end") == "fix"
        """Whether pictures are decoded: then that must not hold up who fetches them."""

    def judge(self, row: Row, body: bytes) -> tuple[Outcome, bytes | memoryview]:
        """The outcome of a row for which this came, and the bytes to pack."""
        outcome = Outcome(row=row, sha256=hashlib.sha256(body).hexdigest())
        found = self._compare(row, outcome)
        if outcome.reason:
            return outcome, b""
        seen = look(body)
        outcome.original_width, outcome.original_height = seen.width, seen.height
        outcome.reason = self._refusal(seen)
        if outcome.reason:
            return outcome, b""
        treated = self._treater.treat(body, seen)
        outcome.found, outcome.fixed = (*treated.found, *found), treated.fixed
        if treated.reason:
            outcome.reason = treated.reason
            return outcome, b""
        if treated.data is not body:
            seen = look(treated.data)
        outcome.width, outcome.height = seen.width, seen.height
        outcome.extension = EXTENSIONS[seen.kind or "jpeg"]
        return outcome, treated.data

    def _compare(self, row: Row, outcome: Outcome) -> tuple[str, ...]:
        """Whether these are the bytes that the list was made from, if it says so."""
        stated = row.sha256.strip().lower()
        if not stated or stated == outcome.sha256:
            return ()
        if self._gathering.on_mismatch == "keep":
            return (MISMATCH,)
        outcome.reason = MISMATCH
        outcome.detail = "" if _SHA256.fullmatch(stated) else "what the list states is no sha256"
        return ()

    def _refusal(self, seen: Structure) -> str:
        """Why a picture is out by its header alone; decoding it would only cost time."""
        if "not_an_image" in seen.classes:
            return "not_an_image"
        if "bomb" not in seen.classes and "broken" in seen.classes:
            return "broken"  # no width and height: nobody could say that it is a picture
        return self._gathering.filters.refuse(seen.width, seen.height) if seen.width else ""
