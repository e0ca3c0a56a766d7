"""What a host says in the head of an answer about its use: the opt-outs that are honoured.

Two conventions: `X-Robots-Tag` (directives for all, or for agents by name), and `TDM-Reservation: 1`, which
reserves text and data mining.
"""

from __future__ import annotations

from collections.abc import Mapping

AGENT = "g3m"
"""Our name as hosts may write it in X-Robots-Tag and robots.txt."""

DIRECTIVES = frozenset({"noai", "noimageai", "noindex", "noimageindex", "noml", "none"})
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Directives with a colon of their own: what stands before it is no agent."""


def opted_out(headers: Mapping[str, str]) -> str:
    """The directive by which an answer asks not to be used, or an empty text.

    Several lines of one header are joined with line ends: an agent's name holds until the end of its line.

    >>> opted_out({"X-Robots-Tag": "otherbot: noindex\\nNoAI, follow"}), opted_out({"x-robots-tag": "all"})
    ('noai', '')
    """
    for name, value in headers.items():
        if name.lower() == "x-robots-tag":
            for line in value.splitlines():
                found = _directive(line.lower())
                if found:
                    return found
        elif name.lower() == "tdm-reservation" and value.strip() == "1":
            return "tdm-reservation"
    return ""


def _directive(line: str) -> str:
    """The first directive of a line that is meant for us."""
    for_us = True
    for part in line.split(","):
        agent, colon, directive = (word.strip() for word in part.partition(":"))
        if not colon:
            directive = agent
        elif agent in _WITH_VALUE:
            continue
        else:
            for_us = agent in (AGENT, "*")
        if for_us and directive in DIRECTIVES:
            return directive
    return ""
