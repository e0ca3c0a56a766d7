"""Reasons of rows: each has a meaning, a word of img2dataset's, and says whether to hope again."""

from __future__ import annotations

import pytest

from g3m.core.outcomes import GOOD, REASONS, http_reason, may_succeed, status_of
from g3m.core.treatment import CLASSES


def test_no_reason_is_a_class_of_pictures_or_an_http_status() -> None:
    """The three kinds of codes can be told apart by the code alone."""
    assert REASONS.keys().isdisjoint(CLASSES)
    assert not any(reason.startswith("http_") for reason in (*REASONS, *CLASSES))


@pytest.mark.parametrize("reason", [*REASONS, *CLASSES])
def test_every_reason_has_a_meaning_and_a_word(reason: str) -> None:
    """Whoever reads a table finds what a code means, and one of the two words for a failure."""
    meaning = REASONS[reason].meaning if reason in REASONS else CLASSES[reason]
    assert len(meaning) > 10
    assert meaning[0].islower() or meaning[0].isupper()
    assert status_of(reason) in ("failed_to_download", "failed_to_resize")


def test_a_sample_is_a_success() -> None:
    """The empty reason is img2dataset's success, and needs no other try."""
    assert status_of(GOOD) == "success"
    assert not may_succeed(GOOD)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_busy_server_may_answer_another_time(status: int) -> None:
    """Statuses that speak of the moment are worth another try."""
    assert may_succeed(http_reason(status))
    assert status_of(http_reason(status)) == "failed_to_download"


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404, 410, 418, 451])
def test_a_definite_answer_is_final(status: int) -> None:
    """Statuses that speak of the file are not asked for again."""
    assert not may_succeed(http_reason(status))


@pytest.mark.parametrize(
    "reason", ["name_failed", "unreachable", "timeout", "too_slow", "cut_off", "partial"]
)
def test_what_the_network_did_may_go_better(reason: str) -> None:
    """Rows that failed for the network's sake are tried again by --retry-failed."""
    assert may_succeed(reason)
    assert status_of(reason) == "failed_to_download"


@pytest.mark.parametrize(
    "reason", ["bad_url", "private_address", "opt_out", "robots", "hash_mismatch", "bomb", "tls"]
)
def test_what_stays_as_it_is_is_left_alone(reason: str) -> None:
    """Refusals, opt-outs and pictures that are wrong do not change by asking again."""
    assert not may_succeed(reason)


@pytest.mark.parametrize("reason", ["not_an_image", "bomb", "no_end", "too_small", "aspect", "hash_mismatch"])
def test_what_came_and_was_not_taken_is_told_apart(reason: str) -> None:
    """A body that came and was refused is not a failed download in img2dataset's words."""
    assert status_of(reason) == "failed_to_resize"
