"""Digests whose state can be written down: what has been hashed need not be read again after a restart.

hashlib's objects cannot say their state. The libcrypto that Python itself uses can: its older interface
keeps the state of sha256, sha1 and md5 in a plain structure. It is borrowed here by ctypes, proved against
hashlib before it is used, and where it is not to be had (`available` says so) nothing depends on it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import importlib
import sys
from functools import cache
from typing import Any, final

_STATE_BYTES = {"sha256": 112, "sha1": 96, "md5": 92}
"""The sizes of SHA256_CTX, SHA_CTX and MD5_CTX: the same in every libcrypto since 0.9.8."""

_HELD_AT = {"sha256": 104, "sha1": 92, "md5": 88}
"""Where the structure counts the bytes of a block that is not full yet."""

_BLOCK_BYTES = 64
_ROOM_BYTES = 256
_PREFIXES = {"sha256": "SHA256", "sha1": "SHA1", "md5": "MD5"}
_DIGEST_BYTES = {"sha256": 32, "sha1": 20, "md5": 16}


@cache
def available(algorithm: str = "sha256") -> bool:
    """Whether states of this algorithm can be kept here: tried out, restart and all."""
    text = bytes(range(256)) * 33
    try:
        first = Resumable(algorithm)
        first.update(text[:1000])
        second = Resumable(algorithm, first.state())
        second.update(text[1000:])
        first.update(text[1000:])
    except (ImportError, OSError, AttributeError, ValueError):
        return False
    wanted = hashlib.new(algorithm, text, usedforsecurity=False).hexdigest()
    return first.hexdigest() == second.hexdigest() == wanted


@final
class Resumable:
    """One digest in progress, with hashlib's methods and `state`.

    Raises OSError or AttributeError if this Python's libcrypto does not lend its functions, ValueError for
    an algorithm or a state that it does not know.
    """

    def __init__(self, algorithm: str, state: str = "") -> None:
        """Begin anew, or where `state` was taken."""
        if algorithm not in _PREFIXES:
            raise ValueError(f"no state is kept of {algorithm}")
        self._algorithm = algorithm
        self._context = ctypes.create_string_buffer(_ROOM_BYTES)
        self._functions = _functions(_PREFIXES[algorithm])
        if not state:
            self._functions.begin(self._context)
            return
        raw = bytes.fromhex(state)
        held = int.from_bytes(raw[_HELD_AT[algorithm] :][:4], sys.byteorder)
        # libcrypto believes this number: beyond a block it would write outside of the structure.
        if len(raw) != _STATE_BYTES[algorithm] or held >= _BLOCK_BYTES:
            raise ValueError(f"that is no state of {algorithm}")
        ctypes.memmove(self._context, raw, len(raw))

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes; the interpreter's lock is not held meanwhile."""
        if not isinstance(data, bytes):
            data = bytes(data)
        self._functions.update(self._context, data, len(data))

    def copy(self) -> Resumable:
        """One in the same state."""
        return Resumable(self._algorithm, self.state())

    def state(self) -> str:
        """Where it is, as hexadecimal digits; good on any machine of the same byte order."""
        return self._context.raw[: _STATE_BYTES[self._algorithm]].hex()

    def hexdigest(self) -> str:
        """The digest of everything so far; more may follow."""
        context = ctypes.create_string_buffer(self._context.raw, _ROOM_BYTES)
        digest = ctypes.create_string_buffer(_DIGEST_BYTES[self._algorithm])
        self._functions.end(digest, context)
        return digest.raw.hex()


class _Functions:
    """The three functions of an algorithm."""

    def __init__(self, library: Any, prefix: str) -> None:
        self.begin = getattr(library, f"{prefix}_Init")
        self.update = getattr(library, f"{prefix}_Update")
        self.end = getattr(library, f"{prefix}_Final")
        self.begin.argtypes = (ctypes.c_char_p,)
        self.update.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
        self.end.argtypes = (ctypes.c_char_p, ctypes.c_char_p)


@cache
def _functions(prefix: str) -> _Functions:
    """From the libcrypto behind Python's own hashlib, else from the system's."""
    own = getattr(importlib.import_module("_hashlib"), "__file__", None)
    for name in (own, ctypes.util.find_library("crypto")):
        try:
            return _Functions(ctypes.CDLL(name), prefix)
        except (OSError, AttributeError):
            continue
    raise OSError("no libcrypto lends its functions")
