"""Which of a sample's captions a training step gets: a pure choice, the same on every machine.

joined   the text as it is stored: all captions of a picture behind one another, as in NXTP
random   one of them, another one in each epoch
all      all of them
"""

from __future__ import annotations

import json
from typing import Any, Literal

from g3m.core.permutation import mix

Policy = Literal["joined", "random", "all"]
POLICIES: tuple[Policy, ...] = ("joined", "random", "all")


def text_of(data: bytes) -> str:
    """A stored caption as text; what is no UTF-8 becomes U+FFFD."""
    return data.decode("utf-8", "replace")


def captions_of(text: str, meta: bytes) -> tuple[str, ...]:
    """The captions that a sample's json lists, else its text as the only one; damaged json lists none."""
    try:
        body: Any = json.loads(meta) if meta else None
    except (ValueError, RecursionError):
        body = None
    listed = body.get("captions") if isinstance(body, dict) else None
    found = tuple(one for one in listed if isinstance(one, str) and one) if isinstance(listed, list) else ()
    return found or (text,)


def chosen(captions: tuple[str, ...], number: int, epoch: int, seed: int) -> str:
    """One of the captions: for the same sample another one in each epoch, as if drawn."""
    return captions[mix(seed, epoch, number) % len(captions)]
