"""core/alarm.py: a dead network and a login page are noticed, a bad list is neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.alarm import FAILED_SHARE, FIRST_ROWS, LAST_ROWS, LEAST_HOSTS, LOGIN_BODIES, Alarm, is_page
from g3m.core.errors import Unreachable
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


def test_the_numbers_of_the_alarm() -> None:
    """Fifty rows, then two hundred; 95 of a hundred; five hosts; twenty equal bodies."""
    assert (FIRST_ROWS, LAST_ROWS, FAILED_SHARE, LEAST_HOSTS, LOGIN_BODIES) == (50, 200, 0.95, 5, 20)


def test_the_share_that_may_fail() -> None:
    """Of the first fifty 48 are too many and 47 are not; of two hundred 191 are and 190 are not; 51 to 199 are not asked."""
    assert _rings([""] * 2 + ["timeout"] * 48, 20) == 50
    assert _rings([""] * 3 + ["timeout"] * 47, 20) == 0
    assert _rings([""] * 9 + ["timeout"] * 191, 20) == 200
    assert _rings([""] * 10 + ["timeout"] * 190 + [""], 20) == 0
    assert _rings([""] * 3 + ["timeout"] * 196, 20) == 0
    assert _rings([""] * 300 + ["timeout"] * 190, 20) == 0
    assert _rings([""] * 300 + ["timeout"] * 191, 20) == 491


def test_hosts_that_fail_are_counted() -> None:
    """Five of them, or such as have given pictures before; those of good rows say nothing."""

    def rings(hosts: int, good: bool) -> bool:
        alarm = Alarm()
        return any(
            alarm.outcome("timeout", f"h{number % hosts}", known_good=good or number > 0)
            for number in range(50)
        )

    assert rings(5, good=False)
    assert not rings(4, good=False)
    assert rings(4, good=True)
    mixed = Alarm()
    assert not any(
        mixed.outcome("timeout" if number > 1 else "", f"h{number if number < 2 else number % 4}")
        for number in range(50)
    )


def test_how_many_bodies_are_looked_at() -> None:
    """Fifty, and no more; nineteen pages and nineteen equal bodies are no sign together."""
    alarm, seen = Alarm(), 0
    while alarm.wants_body:
        assert not alarm.body(f"h{seen}", seen + 10, page=False)
        seen += 1
    assert seen == 50
    for mark in (1, 0, 2):
        both = Alarm()
        assert not any(both.body(f"h{number % 5}", mark, page=False) for number in range(19))
        assert not any(both.body(f"h{number % 5}", 100 + number, page=True) for number in range(19))
        assert both.body("h", mark, page=False)


def test_both_signs_stop_the_run() -> None:
    """Whoever heeds a row gets the error, whose hint says what to do, in both languages."""
    alarm = Alarm()
    for number in range(49):
        alarm.heed(f"h{number}", "timeout", b"", known_good=False)
    with pytest.raises(Unreachable, match="nearly every URL fails") as caught:
        alarm.heed("h", "timeout", b"", known_good=False)
    assert ["g3m doctor" in hint for hint in caught.value.hint] == [True, True]
    for body in (b"<html>sign in", b"a placeholder"):
        alarm = Alarm()
        for number in range(19):
            alarm.heed(f"h{number}", "", body, known_good=True)
        with pytest.raises(Unreachable, match="one and the same page") as caught:
            alarm.heed("h", "", body, known_good=True)
        assert ["--proxy" in hint for hint in caught.value.hint] == [True, True]


def test_a_page_shows_itself_in_its_first_bytes() -> None:
    """Within 256, blanks included."""
    assert is_page(b" " * 251 + b"<html")
    assert not is_page(b" " * 252 + b"<html")
    assert is_page(b"<head>")
    assert not is_page(b"<header>"[:4])
