"""What can become of a row of a list of URLs: reasons whose codes stay the same, and whether to hope again.

A row is either a sample, or it has one reason: from here, or a class of core/treatment.py. Free words beside
the code say the rest. HTTP statuses are codes of their own: `http_404`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from g3m.core.treatment import CLASSES

Status = Literal["success", "failed_to_download", "failed_to_resize"]
"""The three words that readers of img2dataset's tables know."""

GOOD = ""
"""The reason of a row that became a sample."""

STAND_IN = "stand_in"


@dataclass(frozen=True, slots=True)
class Reason:
    """What a code means, and whether the same row may succeed another time."""

    meaning: str
    again: bool = False


REASONS: Mapping[str, Reason] = {
    "bad_url": Reason("the address is no http or https URL, or holds a login"),
    "private_address": Reason("the name leads to an address that is not public"),
    "name_unknown": Reason("the name does not exist"),
    "name_failed": Reason("the name could not be resolved this time", again=True),
    STAND_IN: Reason("a proxy program in TUN mode answers for the name (fake-ip); name it", again=True),
    "unreachable": Reason("no connection, or it broke before an answer", again=True),
    "tls": Reason("no trusted TLS connection"),
    "timeout": Reason("no answer, or not the whole of it, in the time allowed", again=True),
    "too_slow": Reason("hardly a byte came for a while", again=True),
    "cut_off": Reason("nothing else was left to do, and it took much longer than the others", again=True),
    "redirects": Reason("too many redirects, or one that leads nowhere or back to plain http"),
    "too_big": Reason("the body has more bytes than allowed"),
    "empty": Reason("the answer has no body"),
    "partial": Reason("fewer bytes came than were announced", again=True),
    "opt_out": Reason("a header asks not to be used"),
    "robots": Reason("the host's robots.txt asks not to come"),
    "hash_mismatch": Reason("the bytes are not those that the list was made from"),
    "too_small": Reason("the shorter side has fewer pixels than asked for"),
    "dropped": Reason("it was dropped by `g3m drop`"),
    "aspect": Reason("one side is too many times the other"),
}
"""Every code that is neither an HTTP status nor a class of pictures and captions; the docs print it."""

_HTTP = "http_"
_HTTP_AGAIN = (408, 425, 429)
_CLASSES_AGAIN = ("no_end", "truncated")
_AFTER_DOWNLOAD = ("hash_mismatch", "too_small", "aspect")


def http_reason(status: int) -> str:
    """The code of an answer that is no success.

    >>> http_reason(404)
    'http_404'
    """
    return f"{_HTTP}{status}"


def may_succeed(reason: str) -> bool:
    """Whether a row with this reason is worth another try on another day.

    >>> may_succeed("http_503"), may_succeed("http_404"), may_succeed("name_failed"), may_succeed("bomb")
    (True, False, True, False)
    """
    if reason.startswith(_HTTP):
        status = int(reason.removeprefix(_HTTP))
        return status in _HTTP_AGAIN or status >= 500
    known = REASONS.get(reason)
    return known.again if known else reason in _CLASSES_AGAIN


def status_of(reason: str) -> Status:
    """The word of img2dataset's tables for a reason.

    >>> status_of(""), status_of("http_404"), status_of("not_an_image")
    ('success', 'failed_to_download', 'failed_to_resize')
    """
    if reason == GOOD:
        return "success"
    return "failed_to_resize" if reason in CLASSES or reason in _AFTER_DOWNLOAD else "failed_to_download"
