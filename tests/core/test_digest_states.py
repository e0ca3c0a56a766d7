"""core/digest.py: a hasher whose engine can say its state goes on where it was."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.digest import Hasher


class Telling:
    """hashlib's objects, with all that was fed to them as their state."""

    def __init__(self, algorithm: str, state: str) -> None:
        self.algorithm, self.seen = algorithm, bytes.fromhex(state)

    def update(self, data: bytes | memoryview) -> None:
        self.seen += bytes(data)

    def copy(self) -> Telling:
        return Telling(self.algorithm, self.state())

    def state(self) -> str:
        return self.seen.hex()

    def hexdigest(self) -> str:
        return hashlib.new(self.algorithm, self.seen).hexdigest()


@given(first=st.binary(), second=st.binary(), wanted=st.sets(st.sampled_from(["md5", "git-sha1"])))
def test_a_resumed_hasher_ends_as_one_that_never_stopped(
    first: bytes, second: bytes, wanted: set[str]
) -> None:
    """For every set of algorithms, git's header included, and wherever the cut is."""
    size = len(first) + len(second)
    whole = Hasher(wanted, size_bytes=size)
    whole.update(first + second)
    before = Hasher(wanted, size_bytes=size, engine=Telling)
    before.update(first)
    after = Hasher(wanted, size_bytes=size, engine=Telling)
    after.resume(before.states(), len(first), Telling)
    assert after.size_bytes == len(first)
    after.update(second)
    assert after.digests() == whole.digests()
    assert after.size_bytes == size


def test_states_have_the_names_of_the_digests() -> None:
    """One each, also for git's, which is a sha1 underneath."""
    hasher = Hasher({"md5", "git-sha1"}, size_bytes=3, engine=Telling)
    assert hasher.states() == {"sha256": "", "md5": "", "git-sha1": b"blob 3\0".hex()}


def test_a_copy_keeps_its_engine() -> None:
    """The part hashes on a copy, and asks that for its states."""
    hasher = Hasher(engine=Telling).copy()
    hasher.update(b"x")
    assert hasher.states() == {"sha256": b"x".hex()}


@pytest.mark.parametrize("states", [{}, {"md5": ""}, {"sha1": "", "md5": ""}])
def test_a_state_that_is_missing_is_a_key_error(states: dict[str, Any]) -> None:
    """Half of the digests are not enough to go on, and the hasher stays what it was."""
    hasher = Hasher({"md5"}, engine=Telling)
    hasher.update(b"x")
    with pytest.raises(KeyError):
        hasher.resume(states, 5, Telling)
    assert hasher.states() == {"sha256": b"x".hex(), "md5": b"x".hex()}
    assert hasher.size_bytes == 1


def test_hashlib_cannot_go_on() -> None:
    """The usual engine refuses a state instead of beginning anew in silence."""
    hasher = Hasher()
    engine = Hasher.__init__.__kwdefaults__["engine"]
    with pytest.raises(ValueError, match="state"):
        hasher.resume({"sha256": "00"}, 5, engine)
