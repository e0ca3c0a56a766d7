"""core/alarm.py: a dead network and a login page are noticed, a bad list is neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.alarm import FAILED_SHARE, FIRST_ROWS, LAST_ROWS, LEAST_HOSTS, Alarm, is_page
from g3m.core.manners import NETWORK


def _rings(reasons: list[str], hosts: int, *, known_good: bool = False) -> int:
    """After how many outcomes the alarm rings; 0: never."""
    alarm = Alarm()
    for place, reason in enumerate(reasons):
        if alarm.outcome(reason, f"host{place % hosts}", known_good=known_good):
            return place + 1
    return 0


@pytest.mark.parametrize("reason", sorted(NETWORK))
def test_a_dead_network_is_noticed_after_the_first_rows(reason: str) -> None:
    """Fifty failures of many hosts: stop. Of one host that never gave anything: that host is dead."""
    assert _rings([reason] * 1000, 20) == FIRST_ROWS
    assert _rings([reason] * 1000, LEAST_HOSTS - 1) == 0
    assert _rings([reason] * 1000, 1, known_good=True) == FIRST_ROWS


def test_a_network_that_dies_later_is_noticed_too() -> None:
    """Within the next two hundred rows, however many were good before."""
    rings = _rings([""] * 3000 + ["unreachable"] * 500, 20)
    assert 3000 + LAST_ROWS * FAILED_SHARE < rings <= 3000 + LAST_ROWS


@given(st.lists(st.sampled_from(["", "http_404", "http_500", "robots", "bad_url", "opt_out"]), max_size=400))
def test_a_bad_list_is_no_dead_network(reasons: list[str]) -> None:
    """Rows that fail because of what they are never ring."""
    assert _rings(reasons, 20) == 0


def test_an_old_list_is_no_dead_network() -> None:
    """Nine of ten rows fail with the network's reasons, one answers: that is what old lists are like."""
    assert _rings((["name_unknown"] * 9 + [""]) * 100, 50) == 0


def test_one_page_for_everything_is_noticed() -> None:
    """Equal bodies, or pages that differ, of five hosts; never of four, and only among the first."""

    def rings(bodies: list[tuple[str, int, bool]]) -> int:
        alarm = Alarm()
        for place, (host, mark, page) in enumerate(bodies):
            if alarm.wants_body and alarm.body(host, mark, page=page):
                return place + 1
        return 0

    assert rings([(f"h{n % 5}", 7, False) for n in range(50)]) == 20
    assert rings([(f"h{n % 5}", n, True) for n in range(50)]) == 20
    assert rings([(f"h{n % 4}", 7, True) for n in range(50)]) == 0
    assert rings([(f"h{n}", n, False) for n in range(500)]) == 0
    assert rings([(f"h{n}", n, False) for n in range(50)] + [(f"h{n}", 7, True) for n in range(50)]) == 0


def test_pages_are_told_from_pictures() -> None:
    """By their first characters, whatever the case and the blanks before them."""
    assert is_page(b"\xef\xbb\xbf\r\n<!DocType HTML PUBLIC>")
    assert is_page(b"<html lang=en>")
    assert not is_page(b"\xff\xd8\xff\xe0<html>")
    assert not is_page(b"<svg>")
    assert not is_page(b"")
