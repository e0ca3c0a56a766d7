"""core/dropped.py: the record says what was put into it, damage is never silence, lists name what they mean."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.dropped import (
    _PLAIN,
    BadRecord,
    Drop,
    Exchange,
    Record,
    may_name,
    parse,
    same_url,
    stamp_without,
    url_line,
)
from g3m.core.listed import BadLine, Wanted, key_line
from g3m.core.shard import ShardSummary
from g3m.core.weburl import BadUrl, web_address

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
drops = st.builds(Drop, texts, st.text(st.characters(exclude_categories=["Cs"])), texts, texts)


@given(st.lists(drops))
def test_a_record_comes_back_as_it_was_written(given_drops: list[Drop]) -> None:
    """Whatever keys, reasons and names hold, also line ends of every kind."""
    record = Record({drop.key: drop for drop in given_drops})
    assert parse(record.encode()) == Record(dict(sorted(record.drops.items())))
    assert bool(parse(record.encode())) == bool(given_drops)


def test_an_exchange_comes_back_as_it_was_written() -> None:
    """The first line has all that finishing needs."""
    exchange = Exchange(ShardSummary("a/00000.tar", 3, 10240, "ab"), "x-00000.tar.1.exchange", ("k", "l"))
    assert parse(Record({}, (exchange,)).encode()).rewriting == (exchange,)


def test_what_was_said_first_stays() -> None:
    """Dropping once more changes neither reason nor source of what was dropped before."""
    record = Record({"a": Drop("a", "first")}).added([Drop("a", "second"), Drop("b")])
    assert [(one.key, one.reason) for one in record.drops.values()] == [("a", "first"), ("b", "")]
    assert ("a" in record, "c" in record, len(record)) == (True, False, 2)


GOOD = '{"format": 1, "kind": "Dropped"}\n{"key": "a", "reason": "", "from": ""}\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        GOOD[:-1],
        GOOD[:-10],
        GOOD.replace("1", "2", 1),
        GOOD.replace("Dropped", "Manifest"),
        GOOD.replace('"a"', "1"),
        GOOD.replace('"key"', '"keys"'),
        "[]\n",
        "[" * 100_000 + "\n",
        '{"format": 1, "kind": "Dropped", "rewriting": [["../x", 1, 1, "", "p", []]]}\n',
        '{"format": 1, "kind": "Dropped", "rewriting": [["x.tar", 1, 1, "", "../p", []]]}\n',
        '{"format": 1, "kind": "Dropped", "rewriting": [["x.tar", "1", 1, "", "p", []]]}\n',
    ],
)
def test_a_damaged_record_is_an_error(text: str) -> None:
    """Nobody may take it for a folder from which nothing was dropped; only a missing file is that."""
    with pytest.raises(BadRecord):
        parse(text)
    assert not parse(None)


@pytest.mark.parametrize("line", ["{", '{"key": 1}', '{"key": ""}', '{"key": "a", "dataset": 1}', "{}"])
def test_a_line_without_a_key_is_refused(line: str) -> None:
    """A takedown must not be lost in silence."""
    with pytest.raises(BadLine):
        key_line(line)


@pytest.mark.parametrize("line", ["no address", "ftp://a.example/", '{"key": "a"}', "http://u:p@a.example/"])
def test_a_line_without_an_address_is_refused(line: str) -> None:
    """The words never hold the address itself, which may have a login in it."""
    with pytest.raises(BadLine) as caught:
        url_line(line)
    assert "u:p" not in str(caught.value)


def test_addresses_are_compared_in_one_spelling() -> None:
    """Lists and samples spell the same address differently."""
    assert url_line('{"url": "HTTPS://Example.com:443/a%20b.jpg#x"}') == same_url(
        "https://example.com/a b.jpg"
    )
    assert (same_url(None), same_url("words"), same_url(3)) == ("", "", "")


addresses = st.one_of(
    st.from_regex(_PLAIN, fullmatch=True),
    st.builds(
        "{}://{}{}/{}{}".format,
        st.sampled_from(["http", "HTTPS", "hTTp"]),
        st.sampled_from(
            ["a.example", "A.example", "a.example.", "bücher.example", "127.0.0.1", "[::1]", "x"]
        ),
        st.sampled_from(["", ":80", ":8080"]),
        st.text(st.sampled_from("ab./%~ é?&=\\\"'#"), max_size=12),
        st.sampled_from(["", "#top", "?", "?q=http://b.example/"]),
    ),
)


@given(st.from_regex(_PLAIN, fullmatch=True))
def test_an_address_that_is_taken_as_it_stands_is_in_its_one_form(text: str) -> None:
    """The short way gives what the long one gives."""
    with suppress(BadUrl):
        assert web_address(text).url == text == same_url(text)


@given(addresses, st.booleans(), st.booleans())
def test_no_json_that_holds_a_wanted_address_is_passed_over(
    text: str, is_ascii: bool, escapes_slashes: bool
) -> None:
    """However the address is spelled, and however the json is written."""
    data = json.dumps({"a": 1, "b": "words http", "c": text}, ensure_ascii=is_ascii)
    data = data.replace("/", "\\/") if escapes_slashes else data
    assert same_url(text) == "" or may_name(data.encode(), {same_url(text).encode()})


def test_entries_find_samples_of_the_datasets_that_they_name() -> None:
    """A key is for all datasets, DATASET/KEY for one, and so is a line with a dataset."""
    wanted = Wanted([("", "a"), ("", "coco/b"), ("sbu", "c"), ("", "d/e")])
    assert wanted.entries == 4
    assert set(wanted.of("coco")) == {"a", "b", "coco/b", "d/e"}
    assert set(wanted.of("sbu")) == {"a", "c", "coco/b", "d/e"}
    wanted.hit(wanted.of("coco")["b"])
    wanted.hit(wanted.of("coco")["d/e"])
    assert list(wanted.unmatched()) == ["a", "sbu/c"]


def test_a_record_that_lost_lines_is_an_error() -> None:
    """A record cut behind any of its lines is not a shorter one; one of before, without a checksum, is read."""
    record = Record({key: Drop(key, "asked", "list.txt") for key in ("a", "b", "c")})
    lines = record.encode().splitlines(keepends=True)
    for count in range(1, len(lines)):
        with pytest.raises(BadRecord, match="damaged, or cut"):
            parse("".join(lines[:count]))
    old = '{"format": 1, "kind": "Dropped"}\n' + "".join(lines[1:])
    assert parse(old) == record == parse("".join(lines))


def test_the_stamp_without_samples() -> None:
    """The first stamp stays in front; without nothing it is the stamp itself; each set of places has its own."""
    assert stamp_without("1234", []) == stamp_without("1234 without ab", []) == "1234"
    made = stamp_without("1234", [3, 7])
    assert made.startswith("1234 without ")
    assert len(made) == len("1234 without ") + 16
    assert (
        len({made, stamp_without("1234", [3]), stamp_without("1234", [7, 3]), stamp_without("1235", [3, 7])})
        == 4
    )


def test_which_shards_were_exchanged_since() -> None:
    """Those under way, and those of whose samples another record said something else."""
    old = Record({"a": Drop("a"), "b": Drop("b", shard="1.tar")})
    new = Record(
        {
            "a": Drop("a", shard="0.tar"),
            "b": Drop("b", shard="1.tar"),
            "c": Drop("c", shard="2.tar"),
            "d": Drop("d"),
        }
    )
    assert [new.rewrote(f"{number}.tar", old) for number in range(4)] == [True, False, True, False]
    assert not Record().rewrote("0.tar", old)
    exchange = Exchange(ShardSummary("9.tar", 3, 10240, "ab"), "x", ())
    assert Record({}, (exchange,)).rewrote("9.tar", old)
    assert not Record({}, (exchange,)).rewrote("8.tar", old)


def test_a_record_in_other_scripts_can_be_read() -> None:
    """Keys stand there as they are, and what cannot be written is replaced."""
    text = Record({"红\ud800": Drop("红\ud800", "r", "s")}).encode()
    assert "红\ufffd" in text
    assert '"check"' in text.partition("\n")[0]


def test_long_addresses_are_compared_too() -> None:
    """Plain or not, up to the longest address that there is, in the one form."""
    for length in (1_999, 2_000, 2_001, 8_192):
        plain = "http://example.com/" + "a" * (length - 19)
        assert same_url(plain) == plain
    assert same_url("http://example.com/" + "a" * 8_174) == same_url(5) == same_url("x") == ""
