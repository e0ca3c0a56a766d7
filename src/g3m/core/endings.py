"""How a request ended, as words of our own: libcurl's codes, the system's error numbers, the answer's head.

Pure, and with the numbers written out, because core knows no libcurl. The words are the `flags` of a hop in
core/diagnosis.py. libcurl's sentences are read for what cannot be told otherwise, and never passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from g3m.core.diagnosis import Hop
from g3m.core.resume import Answer

PROXY_FAILED = 97
"""libcurl's code for a SOCKS proxy that refused or broke off."""

_RESET, _TIMED_OUT = 104, 110
_UNREACHABLE = (1, 13, 100, 101, 112, 113)
"""What Linux calls a way that does not exist or is forbidden: EPERM, EACCES, E*UNREACH and E*DOWN."""

_BY_CODE = {
    0: frozenset[str](),
    5: frozenset({"name"}),
    18: frozenset({"closed"}),
    28: frozenset({"timeout"}),
    52: frozenset({"closed"}),
    77: frozenset({"file"}),
}
_SOCKS = {
    2: "no-socks",
    23: "forbidden",
    **dict.fromkeys((12, 14, 28, 33), "login"),
    **dict.fromkeys((17, 18, 19, 20, 21, 22, 24, 25, 26, 27), "cannot"),
}
_NOT_TLS = ("wrong version", "packet length", "unknown protocol", "http request", "record layer")
TELLING_S, TELLING_BYTES = 0.3, 1_000_000
"""A sample says something about speed if it took so long or brought so much."""

_PAGES = ("text/html", "application/xhtml")


@dataclass(frozen=True, slots=True)
class Ending:
    """libcurl's code and sentence, the system's error number, and libcurl's reason for a SOCKS failure."""

    code: int = 0
    words: str = ""
    system_error: int = 0
    socks_reason: int = 0


def ending_flags(ending: Ending) -> frozenset[str]:
    """The flags of a hop that ended so.

    >>> ending_flags(Ending(35, "Recv failure: Connection reset by peer", 104))
    frozenset({'reset'})
    """
    code, words, number = ending.code, ending.words.lower(), ending.system_error
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code == PROXY_FAILED and ending.socks_reason in _SOCKS:
        return frozenset({_SOCKS[ending.socks_reason]})
    if code == 60:
        return frozenset({_distrust(words)})
    if number in _UNREACHABLE:
        return frozenset({"unreachable"})
    if number == _RESET or "reset by peer" in words:
        return frozenset({"reset"})
    if code == 7:
        return frozenset({"timeout" if number == _TIMED_OUT else "refused"})
    return frozenset({"no-tls" if any(sign in words for sign in _NOT_TLS) else "closed"})


def _distrust(words: str) -> str:
    if "expired" in words or "not yet valid" in words:
        return "dated"
    other = "subject name" in words or "does not match" in words or "mismatch" in words
    return "name" if other else "untrusted"


def with_answer(hop: Hop, answer: Answer, *, ranged: bool) -> Hop:
    """The hop with what the head of the answer says; `ranged`: a part was asked for, from byte 0."""
    flags = set(hop.flags)
    if answer.headers.get("content-type", "").lower().startswith(_PAGES):
        flags.add("page")
    if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        flags.add("encoded")
    size = answer.length_bytes
    if answer.status == 206:
        span = answer.content_range
        size = span[2] if span else None
        if span is None or span[0] != 0 or not ranged:
            flags.add("part")
    elif answer.status == 200 and ranged:
        flags.add("whole")
    return replace(hop, status=answer.status, size_bytes=size, flags=frozenset(flags))


def rate_of(marks: Sequence[tuple[float, int]], *, whole: bool = False) -> float | None:
    """Bytes a second of one connection, from marks (when, bytes so far) that begin with the head.

    The second half of the time counts, because a connection begins slowly and a limit may let the first
    bytes pass; of a `whole` transfer, which was over before its time, all of it. None if too little came.

    >>> rate_of([(0.0, 0), (0.5, 100), (0.6, 120), (1.0, 1120)])
    2040.0
    """
    if len(marks) < 2:
        return None
    (first_s, first_bytes), (last_s, last_bytes) = marks[0], marks[-1]
    if last_s - first_s < TELLING_S and last_bytes < TELLING_BYTES:
        return None
    begin_s, begin_bytes = max(mark for mark in marks if mark[0] <= (first_s + last_s) / 2)
    if whole:
        begin_s, begin_bytes = first_s, first_bytes
    return (last_bytes - begin_bytes) / (last_s - begin_s) if last_s > begin_s else None
