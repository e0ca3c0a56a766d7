"""core/peers.py: the list of a share is read strictly, and the token in an address is never shown."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core import peers
from g3m.core.digest import Digest
from g3m.core.errors import SettingsError
from g3m.core.peers import (
    Listing,
    PeerPlace,
    SharedAsset,
    SharedDataset,
    SharedFile,
    build,
    holds,
    may_be_shared,
    merge_ranges,
    parse,
    peer_address,
    scrub,
    shown,
)

HEX = "0123456789abcdef" * 4
TOKEN = "f00dfacef00dfacef00dfacef00dface"

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}", fullmatch=True)
sizes = st.integers(0, 2**53)
hexes = st.text("0123456789abcdef", min_size=64, max_size=64)


@st.composite
def assets(draw: Any) -> SharedAsset:
    size = draw(sizes)
    marks = sorted(draw(st.sets(st.integers(0, size), max_size=8)))
    pairs = tuple(zip(marks[::2], marks[1::2], strict=False))
    return SharedAsset(
        id=draw(hexes)[:16],
        name=draw(names),
        size_bytes=size,
        digest=draw(
            st.one_of(
                st.builds(Digest, st.just("sha256"), hexes),
                st.builds(lambda text: Digest("md5", text[:32]), hexes),
            )
        ),
        ranges=draw(st.sampled_from([None, pairs])),
    )


files = st.builds(SharedFile, name=names, size_bytes=sizes, sha256=hexes, samples=sizes)
datasets = st.builds(
    SharedDataset,
    name=st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True),
    identity=hexes,
    shards=st.lists(files, max_size=3).map(tuple),
    files=st.lists(files, max_size=3).map(tuple),
)
listings = st.builds(
    Listing,
    assets=st.lists(assets(), max_size=4).map(tuple),
    datasets=st.lists(datasets, max_size=2).map(tuple),
)


@given(listings)
def test_what_is_built_is_read_back(listing: Listing) -> None:
    """A list goes over the wire and comes back the same."""
    assert parse(build(listing)) == listing
    assert parse(build(listing).encode()) == listing


GOOD = json.loads(
    build(
        Listing(
            assets=(
                SharedAsset(
                    id=HEX[:16],
                    name="a.zip",
                    size_bytes=100,
                    digest=Digest("sha256", HEX),
                    ranges=((0, 10), (20, 100)),
                ),
            ),
            datasets=(
                SharedDataset(
                    name="coco",
                    identity=HEX,
                    shards=(SharedFile(name="00000.tar", size_bytes=1, sha256=HEX, samples=1),),
                    files=(SharedFile(name="README.md", size_bytes=1, sha256=HEX),),
                ),
            ),
        )
    )
)


def spoiled(path: tuple[str | int, ...], value: Any) -> str:
    body = copy.deepcopy(GOOD)
    place = body
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(body)


ASSET, SHARD = ("assets", 0), ("datasets", 0, "shards", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("format",), None),
        (("kind",), "AssetReceipt"),
        (("assets",), {}),
        (("assets",), ["a"]),
        (("datasets",), None),
        ((*ASSET, "id"), "0" * 15),
        ((*ASSET, "id"), "G" * 16),
        ((*ASSET, "id"), HEX[:16] + "\n"),
        ((*ASSET, "id"), 7),
        ((*ASSET, "name"), "../etc/passwd"),
        ((*ASSET, "name"), "a/b"),
        ((*ASSET, "name"), ".hidden"),
        ((*ASSET, "name"), "a b"),
        ((*ASSET, "name"), "a?b"),
        ((*ASSET, "name"), "a%2f"),
        ((*ASSET, "name"), ""),
        ((*ASSET, "name"), "a" * 201),
        ((*ASSET, "size_bytes"), -1),
        ((*ASSET, "size_bytes"), 2**53 + 1),
        ((*ASSET, "size_bytes"), True),
        ((*ASSET, "size_bytes"), 1.0),
        ((*ASSET, "size_bytes"), "100"),
        ((*ASSET, "digest"), f"sha1:{HEX[:40]}"),
        ((*ASSET, "digest"), f"sha256:{HEX[:-1]}"),
        ((*ASSET, "digest"), f"sha256:{HEX.upper()}"),
        ((*ASSET, "digest"), None),
        ((*ASSET, "ranges"), "0-10"),
        ((*ASSET, "ranges"), [[0]]),
        ((*ASSET, "ranges"), [[0, 1, 2]]),
        ((*ASSET, "ranges"), [[0, 1.5]]),
        ((*ASSET, "ranges"), [[False, True]]),
        ((*ASSET, "ranges"), [[5, 5]]),
        ((*ASSET, "ranges"), [[-1, 5]]),
        ((*ASSET, "ranges"), [[0, 101]]),
        ((*ASSET, "ranges"), [[0, 10], [5, 20]]),
        ((*ASSET, "ranges"), [[20, 30], [0, 10]]),
        ((*ASSET, "ranges"), [[0, 10], [10, 20]]),
        (("datasets", 0, "name"), "Coco"),
        (("datasets", 0, "name"), "a/b"),
        (("datasets", 0, "identity"), HEX[:63]),
        (("datasets", 0, "files"), {}),
        ((*SHARD, "name"), "a/00000.tar"),
        ((*SHARD, "sha256"), "x" * 64),
        ((*SHARD, "samples"), -1),
        ((*SHARD, "samples"), True),
        ((*SHARD, "size_bytes"), None),
    ],
)
def test_what_is_not_exactly_right_is_refused(path: tuple[str | int, ...], value: Any) -> None:
    """One wrong value anywhere, and the whole list is refused with the reason."""
    assert parse(json.dumps(GOOD))
    with pytest.raises(ValueError, match=r"."):
        parse(spoiled(path, value))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, "9" * 5000, b"\xff\xfe", '{"format": 1}', "NaN"]
)
def test_what_is_no_list_at_all(text: str | bytes) -> None:
    """Damaged, deeply nested and foreign documents end in ValueError and nothing else."""
    with pytest.raises(ValueError, match="it is no"):
        parse(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_json_is_read_or_refused(body: Any) -> None:
    """A stranger's document never raises anything but ValueError."""
    for document in (
        body,
        {**GOOD, "assets": body},
        {**GOOD, "datasets": [body]},
        {**GOOD, "assets": [body]},
    ):
        with contextlib.suppress(ValueError):
            parse(json.dumps(document))


@pytest.mark.parametrize(
    ("limit", "path"),
    [
        ("ASSETS_LIMIT", ("assets",)),
        ("DATASETS_LIMIT", ("datasets",)),
        ("FILES_LIMIT", ("datasets", 0, "files")),
        ("RANGES_LIMIT", ("assets", 0, "ranges")),
    ],
)
def test_lists_have_bounds(limit: str, path: tuple[str | int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is longer than its bound is refused."""
    place: Any = GOOD
    for key in path:
        place = place[key]
    monkeypatch.setattr(peers, limit, len(place) - 1)
    with pytest.raises(ValueError, match="at most"):
        parse(json.dumps(GOOD))
    monkeypatch.setattr(peers, limit, len(place))
    parse(json.dumps(GOOD))


def test_shards_have_a_bound_over_all_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many datasets of few shards are as much work as one of many."""
    body = copy.deepcopy(GOOD)
    body["datasets"] *= 3
    monkeypatch.setattr(peers, "SHARDS_LIMIT", 2)
    with pytest.raises(ValueError, match="more than 2 shards"):
        parse(json.dumps(body))
    monkeypatch.setattr(peers, "SHARDS_LIMIT", 3)
    parse(json.dumps(body))


@given(st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 60))), st.integers(0, 50))
def test_merged_ranges_hold_the_same_bytes(ranges: list[tuple[int, int]], size: int) -> None:
    """In order, apart from one another, within the size, and not a byte more or less."""
    merged = merge_ranges(ranges, size)
    assert {n for a, b in merged for n in range(a, b)} == {
        n for a, b in ranges for n in range(a, b) if 0 <= n < size
    }
    assert all(a < b for a, b in merged)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(merged))


def test_too_many_ranges_leave_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into the list are the smallest ranges; the order stays."""
    monkeypatch.setattr(peers, "RANGES_LIMIT", 2)
    assert merge_ranges([(0, 1), (2, 9), (10, 11), (20, 25)], 30) == ((2, 9), (20, 25))


@pytest.mark.parametrize(
    ("ranges", "start", "end", "there"),
    [
        (None, 0, 10**9, True),
        ((), 0, 1, False),
        (((0, 5), (7, 9)), 0, 5, True),
        (((0, 5), (7, 9)), 1, 6, False),
        (((0, 5), (7, 9)), 5, 7, False),
        (((0, 5), (7, 9)), 7, 8, True),
    ],
)
def test_holds(ranges: Any, start: int, end: int, there: bool) -> None:
    """Only a range that is there with every byte counts."""
    assert holds(ranges, start, end) is there


@pytest.mark.parametrize(
    ("name", "good"), [("a.zip", True), ("a/b", False), ("..", False), ("ä", False), ("a\n", False)]
)
def test_which_names_may_be_shared(name: str, good: bool) -> None:
    """A name stands in an address as it is, or not at all."""
    assert may_be_shared(name) is good


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f"http://box:8318/{TOKEN}/", f"http://box:8318/{TOKEN}/"),
        (f"http://box:8318/{TOKEN}", f"http://box:8318/{TOKEN}/"),
        (f"https://[::1]/x/{TOKEN}/", f"https://[::1]/x/{TOKEN}/"),
    ],
)
def test_a_peer_has_an_address(text: str, address: str) -> None:
    """What `g3m share` prints is taken, with or without the closing slash."""
    assert peer_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "box:8318",
        f"box:8318/{TOKEN}",
        f"ftp://box/{TOKEN}/",
        f"file:///{TOKEN}/",
        f"http:///{TOKEN}/",
        "http://box:8318",
        "http://box:8318/",
        f"http://box:x/{TOKEN}/",
        f"http://box/{TOKEN}/?a=1",
        f"http://box/{TOKEN}/#a",
        f"http://me:{TOKEN}@box/{TOKEN}/",
        f"http://box/{TOKEN} x/",
        f"http://box/{TOKEN}\n/",
        f"http://bóx/{TOKEN}/",
    ],
)
def test_what_is_no_address_of_a_peer(text: str) -> None:
    """It is refused as a setting, and the message does not repeat the token."""
    with pytest.raises(SettingsError) as caught:
        peer_address(text)
    assert TOKEN not in caught.value.message
    assert "--peer" in caught.value.message


@pytest.mark.parametrize("path", ["", "assets/0123456789abcdef/a.zip"])
def test_a_peer_is_shown_without_its_token(path: str) -> None:
    """Neither the shown address nor the repr of a place nor a message that was scrubbed holds the token."""
    address = f"http://box:8318/{TOKEN}/"
    place = PeerPlace(address + path, ((0, 5),), "http://me:pw@proxy:1")
    assert shown(address + path) == "http://box:8318/***/"
    assert place.place == "box:8318"
    assert TOKEN not in repr(place)
    assert "pw" not in repr(place)
    assert (
        scrub(f"{address}{path}: HTTP 500 ({TOKEN})", address)
        == f"http://box:8318/***/{path}: HTTP 500 (***)"
    )


def test_an_address_that_cannot_be_read_is_shown_as_such() -> None:
    """What is no address shows nothing of itself."""
    assert shown(TOKEN) == "(unreadable address)"
    assert TOKEN not in shown(f"http://[{TOKEN}/")
    assert TOKEN not in scrub(f"no {TOKEN}", f"http://[{TOKEN}/")


def test_where_a_peer_serves_what_it_shares() -> None:
    """Assets by id and name, shards by dataset and name."""
    asset = SharedAsset(id="0123", name="a.zip", size_bytes=1, digest=Digest("md5", "0" * 32))
    assert asset.path == "assets/0123/a.zip"


@pytest.mark.parametrize(
    ("path", "longest", "longer"),
    [
        (("assets", 0, "name"), "a" * 200, "a" * 201),
        (("datasets", 0, "name"), "a" * 64, "a" * 65),
        (("assets", 0, "id"), "0" * 16, "0" * 17),
        (("assets", 0, "id"), "0" * 16, "0" * 15),
        (("datasets", 0, "identity"), "0" * 64, "0" * 65),
        (("datasets", 0, "identity"), "0" * 64, "0" * 63),
        (("datasets", 0, "shards", 0, "sha256"), "0" * 64, "0" * 63),
        (("datasets", 0, "shards", 0, "name"), "_" * 200, ""),
        (("datasets", 0, "name"), "0", ""),
        (("datasets", 0, "shards", 0, "size_bytes"), 2**53, 2**53 + 1),
        (("datasets", 0, "shards", 0, "samples"), 0, -1),
        (("assets", 0, "ranges"), [[0, 1], [2, 100]], [[0, 1], [1, 100]]),
        (("assets", 0, "ranges"), [[0, 100]], [[0, 101]]),
        (("assets", 0, "ranges"), [[99, 100]], [[100, 100]]),
        (("assets", 0, "ranges"), [], [[0, 1, 2]]),
        (("assets", 0, "ranges"), None, [[-1, 5]]),
    ],
)
def test_the_last_value_that_is_right(path: tuple[str | int, ...], longest: Any, longer: Any) -> None:
    """Names, digests, sizes and ranges up to their bound, and not one more."""
    parse(spoiled(path, longest))
    with pytest.raises(ValueError, match=str(path[-1]).replace("name", "name|path")):
        parse(spoiled(path, longer))


def test_only_so_many_ranges_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest of them, in their order; as many as may be are all told."""
    monkeypatch.setattr(peers, "RANGES_LIMIT", 3)
    ranges = [(0, 5), (10, 11), (20, 29), (30, 37)]
    assert merge_ranges(ranges, 100) == ((0, 5), (20, 29), (30, 37))
    assert merge_ranges(ranges[:3], 100) == tuple(ranges[:3])
    assert [holds(ranges, *span) for span in ((0, 5), (1, 4), (0, 6), (9, 11), (10, 11), (5, 10))] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]
    assert holds(None, 0, 10**9)
