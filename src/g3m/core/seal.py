"""A document of ours that says what it holds, so that a change by hand or of one bit is noticed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from g3m.core.digest import of_facts

_SEAL = "sha256"


def sealed(facts: Mapping[str, Any]) -> str:
    """The text of a document with these facts."""
    return json.dumps({**facts, _SEAL: of_facts(facts).hex}, indent=1) + "\n"


def unsealed(text: str) -> dict[str, Any]:
    """The facts of a document; ValueError if it is not as it was written, however it is laid out.

    >>> unsealed(sealed({"rows": [1, 2]}))
    {'rows': [1, 2]}
    >>> unsealed(sealed({"rows": [1, 2]}).replace("2", "3"))
    Traceback (most recent call last):
    ...
    ValueError: a document that was changed
    """
    try:
        facts = json.loads(text)
        if isinstance(facts, dict) and facts.pop(_SEAL, "") == of_facts(facts).hex:
            return facts
    except RecursionError:
        pass
    raise ValueError("a document that was changed")
