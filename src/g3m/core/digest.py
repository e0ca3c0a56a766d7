"""Digests as values, and one hasher that computes several in a single pass."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_HEX_LENGTH = {"sha256": 64, "md5": 32, "git-sha1": 40}
STRENGTH = ("sha256", "git-sha1", "md5")
"""Best first. md5 and git-sha1 prove that bytes were not damaged, not that nobody forged them."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest with its algorithm: `sha256`, `md5`, or `git-sha1` (git's blob hash, used by the hub).

    >>> str(Digest.parse("md5:442b8da7639aecaf257c1dceb8ba8c80"))
    'md5:442b8da7639aecaf257c1dceb8ba8c80'
    """

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `algorithm:hex`; raises ValueError that says what is wrong."""
        algorithm, _, value = text.partition(":")
        length = _HEX_LENGTH.get(algorithm)
        if length is None:
            raise ValueError(f"{algorithm!r} is not a digest algorithm; use {', '.join(_HEX_LENGTH)}")
        if not re.fullmatch(rf"[0-9a-f]{{{length}}}", value):
            raise ValueError(f"a {algorithm} digest has {length} lower-case hexadecimal digits")
        return cls(algorithm, value)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def strongest(digests: Iterable[Digest]) -> Digest | None:
    """The digest to trust most, or None."""
    return min(digests, key=lambda digest: STRENGTH.index(digest.algorithm), default=None)


Engine = Callable[[str, str], Any]
"""Makes an object with hashlib's methods for an algorithm, at a state of it (empty: at its beginning)."""


def _hashlib(algorithm: str, state: str) -> Any:
    if state:
        raise ValueError("hashlib cannot begin at a state")
    return hashlib.new(algorithm, usedforsecurity=False)


class Hasher:
    """Computes sha256 always, and the other algorithms that are asked for, over one stream of bytes."""

    def __init__(
        self, algorithms: Iterable[str] = (), *, size_bytes: int | None = None, engine: Engine = _hashlib
    ) -> None:
        """`engine(algorithm, state)` makes the objects that count; hashlib's cannot say their state."""
        self._hashes = {"sha256": engine("sha256", "")}
        if "md5" in (wanted := set(algorithms)):
            self._hashes["md5"] = engine("md5", "")
        if "git-sha1" in wanted and size_bytes is not None:
            self._hashes["git-sha1"] = engine("sha1", "")
            self._hashes["git-sha1"].update(b"blob %d\0" % size_bytes)
        self.size_bytes = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the stream."""
        for digest in self._hashes.values():
            digest.update(data)
        self.size_bytes += len(data)

    def copy(self) -> Hasher:
        """A hasher in the same state."""
        twin = Hasher()
        twin._hashes = {name: value.copy() for name, value in self._hashes.items()}
        twin.size_bytes = self.size_bytes
        return twin

    def states(self) -> dict[str, str]:
        """Where each digest is, for `resume`; only with an engine that can say it."""
        return {name: value.state() for name, value in self._hashes.items()}

    def resume(self, states: Mapping[str, str], size_bytes: int, engine: Engine) -> None:
        """Go on behind `size_bytes` bytes; ValueError or KeyError if the states do not fit."""
        names = {"git-sha1": "sha1"}
        self._hashes = {name: engine(names.get(name, name), states[name]) for name in self._hashes}
        self.size_bytes = size_bytes

    def digests(self) -> tuple[Digest, ...]:
        """The digests of everything so far, the strongest first."""
        found = (Digest(name, value.hexdigest()) for name, value in self._hashes.items())
        return tuple(sorted(found, key=lambda digest: STRENGTH.index(digest.algorithm)))


def disagreement(expected: Iterable[Digest], actual: Iterable[Digest]) -> tuple[Digest, Digest] | None:
    """The first pair of the same algorithm that differs, or None; unknown algorithms are no proof."""
    measured = {digest.algorithm: digest for digest in actual}
    for wanted in expected:
        found = measured.get(wanted.algorithm)
        if found is not None and found != wanted:
            return wanted, found
    return None


def of_bytes(data: bytes) -> Digest:
    """sha256 of a small document."""
    return Digest("sha256", hashlib.sha256(data).hexdigest())


def of_facts(facts: Mapping[str, Any]) -> Digest:
    """sha256 of what JSON can hold, however it is ordered or laid out.

    >>> of_facts({"b": (1,), "a": 2}) == of_facts({"a": 2, "b": [1]})
    True
    """
    return of_bytes(json.dumps(facts, sort_keys=True).encode())
