"""core/health.py: what is remembered of routes, for one machine, with its age."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.health import FRESH_S, LIAR_S, LIMIT, Seen, dump, parse

NOW_S = 1_800_000_000.0
FAST = Seen(host="a:1", way="direct", rate_bytes_per_s=2e6, connections=8, latency_s=0.1, seen_s=NOW_S)


def test_what_is_dumped_is_parsed() -> None:
    """A document holds what was learned, to the last field."""
    assert parse(dump("", "box", [FAST]), "box") == {("a:1", "direct"): FAST}


def test_machines_do_not_share_a_memory() -> None:
    """Another machine may sit in another network: its rows are kept and not read."""
    both = dump(dump("", "one", [FAST]), "two", [Seen(host="b", rate_bytes_per_s=1.0, seen_s=1.0)])
    assert parse(both, "one") == {("a:1", "direct"): FAST}
    assert list(parse(both, "two")) == [("b", "direct")]
    assert parse(both, "three") == {}


def test_a_lie_outlives_later_speeds() -> None:
    """A place that lied stays a liar, however fast it is seen again, until the lie is old."""
    text = dump("", "box", [Seen(host="a:1", lied_s=NOW_S)])
    found = parse(dump(text, "box", [FAST]), "box")["a:1", "direct"]
    assert found.liar(NOW_S + 1)
    assert found.rate_bytes_per_s == FAST.rate_bytes_per_s
    assert not found.liar(NOW_S + LIAR_S)


def test_a_lie_does_not_erase_the_speed() -> None:
    """Only the lie is new: what was measured before stays."""
    found = parse(dump(dump("", "box", [FAST]), "box", [Seen(host="a:1", lied_s=NOW_S)]), "box")
    assert found["a:1", "direct"].rate_bytes_per_s == FAST.rate_bytes_per_s
    assert found["a:1", "direct"].liar(NOW_S)


@pytest.mark.parametrize(("age_s", "fresh"), [(0, True), (FRESH_S - 1, True), (FRESH_S, False), (-5, False)])
def test_speeds_grow_old(age_s: float, fresh: bool) -> None:
    """A speed counts for a day, and one from the future not at all."""
    assert FAST.fresh(NOW_S + age_s) is fresh
    assert not Seen(host="a").fresh(0.0)


def test_the_memory_is_bounded() -> None:
    """The newest rows are kept."""
    many = [Seen(host=f"h{n}", rate_bytes_per_s=1.0, seen_s=float(n + 1)) for n in range(LIMIT + 50)]
    found = parse(dump("", "box", many), "box")
    assert len(found) == LIMIT
    assert ("h0", "direct") not in found
    assert (f"h{LIMIT + 49}", "direct") in found


@given(
    st.text()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["machines", "box", "host", "way", "x"]), v),
    ).map(json.dumps)
)
def test_a_broken_memory_is_an_empty_one(text: str) -> None:
    """Whatever the file holds, reading it raises nothing, and writing makes it good again."""
    assert isinstance(parse(text, "box"), dict)
    assert parse(dump(text, "box", [FAST]), "box")["a:1", "direct"] == FAST


@pytest.mark.parametrize("field", ["rate_bytes_per_s", "latency_s", "seen_s", "lied_s", "connections"])
@pytest.mark.parametrize("value", [-1, "x", None, float("nan"), float("inf"), 10**400])
def test_an_absurd_row_is_left_out(field: str, value: object) -> None:
    """A row edited by hand into nonsense costs itself only."""
    body = json.loads(dump("", "box", [FAST, Seen(host="b", rate_bytes_per_s=1.0, seen_s=1.0)]))
    rows = body["machines"]["box"]
    next(row for row in rows if row["host"] == "a:1")[field] = value
    found = parse(json.dumps(body), "box")
    assert ("b", "direct") in found
    assert ("a:1", "direct") not in found


def test_how_long_a_memory_counts() -> None:
    """A speed for a day, a lie for a week, of five hundred routes; a route is seen on the direct way unless it says."""
    assert (FRESH_S, LIAR_S, LIMIT) == (86_400.0, 604_800.0, 500)
    assert Seen(host="a") == Seen(
        host="a", way="direct", rate_bytes_per_s=0.0, connections=0, latency_s=0.0, seen_s=0.0, lied_s=0.0
    )
    assert [Seen(host="a", lied_s=1.0).liar(now_s) for now_s in (1.0, 604_800.9, 604_801.0)] == [
        True,
        True,
        False,
    ]
    assert not Seen(host="a").liar(0.0)


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [("connections", 0, True), ("connections", 64, True), ("connections", 65, False), ("connections", -1, False), ("connections", "x", False),
     ("rate_bytes_per_s", 0, True), ("rate_bytes_per_s", 9.9e14, True), ("rate_bytes_per_s", 1e15, False), ("rate_bytes_per_s", -1, False),
     ("latency_s", float("inf"), False), ("seen_s", float("nan"), False), ("lied_s", None, False), ("host", None, True)],
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_forgotten(name: str, value: object, known: bool) -> None:
    """Numbers below 0, without end, or of more connections than g3m makes."""
    body = json.loads(dump("", "box", [FAST]))
    body["machines"]["box"][0][name] = value
    assert bool(parse(json.dumps(body), "box")) is known


def test_the_form_of_the_memory() -> None:
    """A document with its format, other machines as they were, the newest row first."""
    text = dump(
        '{"machines": {"other": [5]}}',
        "box",
        [Seen(host="old", seen_s=1.0), Seen(host="liar", lied_s=3.0), Seen(host="new", seen_s=2.0)],
    )
    body = json.loads(text)
    assert (body["format"], body["machines"]["other"], text[-1]) == (1, [5], "\n")
    assert [row["host"] for row in body["machines"]["box"]] == ["liar", "new", "old"]
