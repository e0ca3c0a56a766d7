"""adapters/hashing.py: hashlib's digests, with states that go on anywhere, and no damaged one into libcrypto."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters import hashing
from g3m.adapters.hashing import Resumable, available

ALGORITHMS = ("sha256", "sha1", "md5")
HELD_AT = {"sha256": 104, "sha1": 92, "md5": 88}


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """What one test found out about libcrypto is nothing to the next."""
    yield
    available.cache_clear()
    hashing._functions.cache_clear()


def expected(algorithm: str, data: bytes) -> str:
    return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(pieces=st.lists(st.binary(max_size=200), max_size=8))
def test_it_goes_on_from_a_state_taken_anywhere(algorithm: str, pieces: list[bytes]) -> None:
    """Written down and begun anew at every cut, the digest is hashlib's, there and at the end."""
    digest, seen = Resumable(algorithm), b""
    for piece in pieces:
        digest = Resumable(algorithm, digest.state())
        digest.update(piece)
        seen += piece
        assert digest.hexdigest() == expected(algorithm, seen)
    assert digest.hexdigest() == expected(algorithm, seen)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_copy_goes_its_own_way(algorithm: str) -> None:
    """What is fed to a copy does not show in the original, nor the other way round."""
    one = Resumable(algorithm)
    one.update(b"a" * 100)
    two = one.copy()
    two.update(b"b")
    one.update(b"c")
    assert one.hexdigest() == expected(algorithm, b"a" * 100 + b"c")
    assert two.hexdigest() == expected(algorithm, b"a" * 100 + b"b")


def test_a_view_counts_as_its_bytes() -> None:
    """Slices of a buffer are hashed as they are, zeros and all."""
    buffer = bytearray(range(256)) * 3
    digest = Resumable("sha256")
    digest.update(memoryview(buffer)[5:600])
    assert digest.hexdigest() == expected("sha256", bytes(buffer[5:600]))


def damaged(algorithm: str) -> list[str]:
    digest = Resumable(algorithm)
    digest.update(b"x" * 70)
    state = digest.state()
    at = 2 * HELD_AT[algorithm]
    numbers = (64, 65, 2**31, 2**32 - 1)
    held = [state[:at] + n.to_bytes(4, sys.byteorder).hex() + state[at + 8 :] for n in numbers]
    return [state[:-2], state + "00", state[:at], "00", "zz" * (len(state) // 2), state[:-1], *held]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_damaged_state_never_reaches_libcrypto(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too short, too long, not hexadecimal, or more held bytes than a block has: ValueError, and nothing is copied."""
    states = damaged(algorithm)
    monkeypatch.setattr(hashing.ctypes, "memmove", lambda *_: pytest.fail("it was handed on"))
    for state in states:
        with pytest.raises(ValueError, match=r"."):
            Resumable(algorithm, state)


def test_the_last_count_that_fits_is_taken() -> None:
    """63 bytes of a block that is not full yet are no damage."""
    digest = Resumable("sha256")
    digest.update(b"y" * 63)
    assert Resumable("sha256", digest.state()).hexdigest() == expected("sha256", b"y" * 63)


def test_an_algorithm_without_a_known_structure_is_refused() -> None:
    """Nothing is guessed about sha512."""
    with pytest.raises(ValueError, match="sha512"):
        Resumable("sha512")
    assert not available("sha512")


def test_it_is_available_here() -> None:
    """The libcrypto of this Python lends all three; without that nothing is streamed here at all."""
    assert all(map(available, ALGORITHMS))


@pytest.mark.parametrize("failure", [OSError, AttributeError])
def test_a_libcrypto_that_lends_nothing_is_told(
    failure: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No library, or one without the old functions: `available` says no and raises nothing."""

    def refuse(_: object) -> object:
        raise failure

    available.cache_clear()
    hashing._functions.cache_clear()
    monkeypatch.setattr(hashing.ctypes, "CDLL", refuse)
    assert not available("sha256")


def test_a_python_without_openssl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the module behind hashlib does not exist."""
    available.cache_clear()
    hashing._functions.cache_clear()
    monkeypatch.setitem(sys.modules, "_hashlib", None)
    assert not available("sha256")


def test_a_libcrypto_that_counts_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions that give other digests than hashlib's are not used."""
    available.cache_clear()
    monkeypatch.setattr(Resumable, "hexdigest", lambda _: "0" * 64)
    assert not available("sha256")
