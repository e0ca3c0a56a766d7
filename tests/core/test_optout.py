"""core/optout.py: who asks not to be used is heard, and only then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.optout import DIRECTIVES, opted_out


@pytest.mark.parametrize("directive", sorted(DIRECTIVES))
def test_directives(directive: str) -> None:
    """Every directive that is honoured is found among others, in any case and under our name."""
    assert opted_out({"X-Robots-Tag": directive}) == directive
    assert opted_out({"x-robots-tag": f"nofollow , {directive.upper()}"}) == directive
    assert opted_out({"X-ROBOTS-TAG": f"G3M: nosnippet, {directive}"}) == directive
    assert opted_out({"x-robots-tag": f"*: {directive}"}) == directive


@pytest.mark.parametrize(
    "value",
    ["", "all", "nofollow, noarchive", "otherbot: noai", "otherbot: nofollow, noai", "noaim", "no ai", "max-snippet: 0, follow",
     "g3mbot: noai", "unavailable_after: 25 Jun 2010 15:00:00 PST", "otherbot: noai\n\nnofollow", "none: follow"],
)  # fmt: skip
def test_not_meant(value: str) -> None:
    """Other directives, and those for other agents, ask nothing of us."""
    assert opted_out({"X-Robots-Tag": value}) == ""


@pytest.mark.parametrize(
    "value",
    ["otherbot: noindex\nnoai", "noai\notherbot: noindex", "otherbot: noindex, g3m: noai", "max-image-preview: none, noai",
     "unavailable_after: 25 Jun 2010 15:00:00 PST, noai", "nofollow\r\nnoai"],
)  # fmt: skip
def test_lines(value: str) -> None:
    """An agent's name holds to the end of its line or to the next name, and values of directives are no names."""
    assert opted_out({"X-Robots-Tag": value}) == "noai"


def test_mining() -> None:
    """A reservation of text and data mining counts; its absence and 0 do not."""
    assert opted_out({"TDM-Reservation": " 1 "}) == "tdm-reservation"
    assert opted_out({"tdm-reservation": "0"}) == ""
    assert opted_out({"content-type": "noai", "x-robots": "noai"}) == ""
    assert opted_out({}) == ""


@given(st.dictionaries(st.sampled_from(["x-robots-tag", "tdm-reservation", "x"]), st.text()))
def test_any_header(headers: dict[str, str]) -> None:
    """Whatever a host sends, the answer is one of the directives or nothing."""
    assert opted_out(headers) in DIRECTIVES | {"", "tdm-reservation"}


def test_the_words_that_are_honoured() -> None:
    """What docs/guides/politeness.md promises to heed."""
    assert {"noai", "noimageai", "noindex", "noimageindex", "noml", "none"} == DIRECTIVES


@pytest.mark.parametrize(
    "name", ["unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"]
)
def test_directives_with_a_value(name: str) -> None:
    """What stands before their colon is no agent, so what follows is meant for everybody."""
    assert opted_out({"X-Robots-Tag": f"{name}: none, noai"}) == "noai"
    assert opted_out({"X-Robots-Tag": f"otherbot: nofollow, {name}: 5, noai"}) == ""


@pytest.mark.parametrize(
    ("value", "found"),
    [("1", "tdm-reservation"), (" 1 ", "tdm-reservation"), ("0", ""), ("11", ""), ("", "")],
)
def test_the_reservation_of_text_and_data_mining(value: str, found: str) -> None:
    """Its one value that reserves is 1."""
    assert opted_out({"TDM-Reservation": value}) == found
    assert opted_out({"tdm-reservation-x": value}) == ""
