"""What a reply of slot.py is called: a reason of core/outcomes.py, and words for it."""

from __future__ import annotations

import pycurl

from g3m.adapters.slot import Reply
from g3m.core.manners import CrowdLimits
from g3m.core.outcomes import GOOD, http_reason

_TLS = (pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE, pycurl.E_SSL_CONNECT_ERROR)
_BROKEN = ("reset", "eof", "syscall", "closed")
_NO_BODY = (204, 205)


def outcome(reply: Reply, limits: CrowdLimits) -> tuple[str, str]:
    """The reason and the words for a reply; redirects are the caller's.

    A status other than good is the reason even if its page did not come whole.
    """
    if reply.stopped:
        return reply.stopped, reply.detail
    if reply.status in _NO_BODY:
        return "empty", f"HTTP {reply.status}"
    if reply.status and reply.status not in (200, 203):
        return http_reason(reply.status), f"HTTP {reply.status}"
    if not reply.code:
        return (GOOD, "") if reply.body else ("empty", "HTTP 200 without a body")
    return _failure(reply, limits)


def _failure(reply: Reply, limits: CrowdLimits) -> tuple[str, str]:
    # A host's own bytes may stand in them: halves of characters and commands to a terminal, too.
    words = "".join(letter if letter.isprintable() else "?" for letter in reply.words)
    words = words.strip().rstrip(".")[:160]
    lower = words.lower()
    if reply.code == pycurl.E_OPERATION_TIMEDOUT:
        if "too slow" in lower:
            return "too_slow", f"less than {limits.idle_bytes_per_s} bytes a second for {limits.idle_s:g} s"
        if not reply.connected and limits.connect_s < limits.total_s:
            return "unreachable", f"no connection within {limits.connect_s:g} s"
        return "timeout", f"not whole within {limits.total_s:g} s"
    if reply.code in _TLS:
        broken = reply.code == pycurl.E_SSL_CONNECT_ERROR and any(word in lower for word in _BROKEN)
        return ("unreachable" if broken else "tls"), words
    if reply.status:
        return "partial", words
    return "unreachable", words or "the connection failed"
