"""core/index.py and indexing.py: the flat table of samples, read as it was written or refused."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from g3m.core.errors import NotVerified
from g3m.core.index import ABSENT, FIELDS, FIELDS_LIMIT, IMAGES, MAGIC, Head, Index, pictures
from g3m.core.indexing import IndexedShard, Rows, encode, joined, ordered, repeated
from g3m.core.members import refuse_name
from g3m.core.shard import Entry, Field

sizes = st.integers(0, ABSENT - 1)
names = st.text(min_size=1, max_size=8).filter(lambda name: not refuse_name(name))
extensions = names.filter(lambda name: "/" not in name)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    has = draw(st.sets(st.sampled_from(FIELDS)))
    found = tuple(Field(name, draw(st.integers(0, 2**62)), draw(sizes)) for name in FIELDS if name in has)
    return Entry(draw(st.text(max_size=8)), found)


shards = st.lists(st.builds(IndexedShard, names, st.lists(entries(), max_size=4).map(tuple)), max_size=4)
TOY = [
    IndexedShard("00000.tar", (Entry("a", (Field("jpg", 512, 9), Field("txt", 2048, 0))), Entry("bé", ()))),
    IndexedShard("00001.tar", ()),
    IndexedShard("00002.tar", (Entry("c", (Field("json", 2**40, 5),)),)),
]


@given(shards)
@example(TOY)
def test_an_index_is_read_as_it_was_written(written: list[IndexedShard]) -> None:
    """Every sample comes back in order with its shard, key and fields, from bytes or a view of them."""
    expected = [(shard.name, entry) for shard in written for entry in shard.entries]
    for data in (encode(written), memoryview(encode(written))):
        index = Index(data)
        assert len(index) == len(expected)
        assert [index[number] for number in range(len(index))] == expected
        assert list(index) == expected
        assert index.shards == tuple(shard.name for shard in written)


@given(shards)
def test_the_same_samples_give_the_same_bytes(written: list[IndexedShard]) -> None:
    """An index is made again byte for byte."""
    assert encode(written) == encode(list(written))
    assert encode(written).startswith(MAGIC)


@pytest.mark.parametrize("number", [-1, 3, 4, 2**40])
def test_numbers_outside_are_refused(number: int) -> None:
    """There is no sample before the first or after the last; negative numbers do not wrap."""
    with pytest.raises(IndexError) as caught:
        Index(encode(TOY))[number]
    assert caught.value.args == (number,)


def test_samples_may_be_asked_in_any_order() -> None:
    """Each sample is found on its own, without those before it."""
    index = Index(encode(TOY))
    assert index[2] == ("00002.tar", Entry("c", (Field("json", 2**40, 5),)))
    assert index[1] == ("00000.tar", Entry("bé", ()))
    assert index[0][1].fields[1] == Field("txt", 2048, 0)


def test_an_empty_file_is_a_field_and_a_missing_one_is_none() -> None:
    """Size 0 and absence are different things."""
    (entry,) = (Entry("k", (Field("txt", 0, 0),)),)
    assert Index(encode([IndexedShard("s", (entry,))]))[0][1] == entry


@pytest.mark.parametrize(
    "data", [b"", b"G3M", MAGIC, MAGIC + b"\0\0\0", b"G3MINDX2" + encode(TOY)[8:], b"PK\3\4" + bytes(200)]
)
def test_other_files_are_refused(data: bytes) -> None:
    """Without the magic of this version, whole, it is no index."""
    with pytest.raises(ValueError, match="not an index of this version"):
        Index(data)


def test_an_index_cut_before_its_keys_is_refused() -> None:
    """A file that ends inside the head or the records is never half an index."""
    data = encode(TOY)
    for length in range(len(data) - len("abéc".encode())):
        with pytest.raises(ValueError, match=r"."):
            Index(data[:length])


def test_an_index_cut_inside_its_keys_is_refused() -> None:
    """A missing end would give samples wrong or empty keys."""
    data = encode(TOY)
    for length in range(len(data) - len("abéc".encode()), len(data)):
        with pytest.raises(ValueError, match="cut"):
            Index(data[:length])


def test_an_index_with_something_behind_it_is_refused() -> None:
    """Two files written into one another are not an index."""
    with pytest.raises(ValueError, match=r"."):
        Index(encode(TOY) + b"x")


HEADS = [
    [],
    5,
    None,
    {},
    {"shards": []},
    {"samples": 0},
    {"shards": 5, "samples": 0, "fields": list(FIELDS)},
    {"shards": [], "samples": "x", "fields": list(FIELDS)},
    {"shards": [], "samples": None, "fields": list(FIELDS)},
    {"shards": [], "samples": -1, "fields": list(FIELDS)},
    {"shards": [], "samples": 1, "fields": list(FIELDS)},
    {"shards": [], "samples": float("inf"), "fields": list(FIELDS)},
    {"shards": [], "samples": True, "fields": list(FIELDS)},
    {"shards": [], "samples": 0, "fields": []},
    {"shards": [], "samples": 0, "fields": ["png", "png"]},
    {"shards": [], "samples": 0, "fields": [["png"]]},
    {"shards": [], "samples": 0, "fields": ["a/png"]},
    {"shards": [], "samples": 0, "fields": [f"x{number}" for number in range(FIELDS_LIMIT + 1)]},
    {"shards": [5], "samples": 0, "fields": list(FIELDS)},
    {"shards": [""], "samples": 0, "fields": list(FIELDS)},
    {"shards": ["/etc/passwd"], "samples": 0, "fields": list(FIELDS)},
    {"shards": ["../a.tar"], "samples": 0, "fields": list(FIELDS)},
    {"shards": ["a.tar"], "samples": 0, "fields": list(FIELDS), "sizes": [1, 2]},
    {"shards": ["a.tar"], "samples": 0, "fields": list(FIELDS), "sizes": [-1]},
    {"shards": ["a.tar"], "samples": 0, "fields": list(FIELDS), "sizes": [1.5]},
    {"shards": ["a.tar"], "samples": 0, "fields": list(FIELDS), "sizes": 1},
    {"shards": ["a.tar"], "samples": 0, "fields": list(FIELDS), "folder": 1},
]


@pytest.mark.parametrize("head", HEADS, ids=json.dumps)
def test_a_wrong_head_is_a_value_error(head: object) -> None:
    """Whatever the head holds instead of its three keys, the reader says so with the error it promises."""
    text = json.dumps(head).encode()
    with pytest.raises(ValueError, match=r"index|."):
        Index(MAGIC + struct.pack("<I", len(text)) + text)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000])
def test_an_unreadable_head_is_a_value_error(text: bytes) -> None:
    """A head that is no JSON, or nested beyond all limits, is refused."""
    with pytest.raises(ValueError, match=r"."):
        Index(MAGIC + struct.pack("<I", len(text)) + text)


@given(shards)
def test_shards_joined_one_by_one_give_the_index_of_all(written: list[IndexedShard]) -> None:
    """The parts that packing leaves, each asked for again, are the index of the whole."""
    parts = [encode([shard]) for shard in written]
    head = Head(shards=tuple(shard.name for shard in written), samples=sum(len(s.entries) for s in written))
    assert b"".join(joined(head, lambda number: Index(parts[number]))) == encode(written)


OF_BEFORE = (
    b'G3MINDX1\x52\0\0\0{"shards": ["00000.tar", "b.tar"], "fields": ["jpg", "json", "txt"], "samples": 2}'
    b"\0\0\0\0\x01\0\0\0\0\x02\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff"
    b"\0\x06\0\0\0\0\0\0\x02\0\0\0"
    b"\x01\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\0\x02\0\0\0\0\0\0\0\0\0\0"
    b"\0\0\0\0\0\0\0\0\xff\xff\xff\xffacc"
)
OF_TODAY = (
    OF_BEFORE.replace(b"\x52\0\0\0", b"\x63\0\0\0").replace(b"}", b', "checked": true}') + b"\xa3\x85\xdb\xef"
)


def test_the_bytes_of_an_index_never_change() -> None:
    """An index that an earlier version wrote is read, and the same samples still give these very bytes."""
    samples = [
        IndexedShard("00000.tar", (Entry("a", (Field("jpg", 512, 7), Field("txt", 1536, 2))),)),
        IndexedShard("b.tar", (Entry("cc", (Field("json", 512, 0),)),)),
    ]
    assert encode(samples) == OF_TODAY
    for data in (OF_BEFORE, OF_TODAY):
        assert [entry.key for _, entry in Index(data)] == ["a", "cc"]
        assert Index(data).key_data == b"acc"
        assert Index(data).intact
    for at in range(len(OF_TODAY)):
        changed = bytearray(OF_TODAY)
        changed[at] ^= 1
        with suppress(ValueError):
            assert not Index(bytes(changed)).intact


@given(st.lists(st.tuples(st.text(max_size=8), st.dictionaries(extensions, sizes, max_size=5)), max_size=6))
def test_any_fields_are_read_as_they_came(samples: list[tuple[str, dict[str, int]]]) -> None:
    """Fields are met as samples come; in the end each sample has its own, in one order for all."""
    rows, found = Rows(), {name for _, places in samples for name in places}
    if len(found) > FIELDS_LIMIT:
        with pytest.raises(ValueError, match="16 fields"):
            _fill(rows, samples)
        return
    _fill(rows, samples)
    index = Index(rows.encode("a.tar", 2**62))
    assert index.fields == (ordered(found) or FIELDS)
    assert (index.sizes, index.shards, len(index)) == ((2**62,), ("a.tar",), len(samples))
    for number, (key, places) in enumerate(samples):
        entry = index[number][1]
        assert entry.key == index.key(number) == key
        assert {field.extension: (field.offset, field.size_bytes) for field in entry.fields} == {
            name: (number, size) for name, size in places.items()
        }
        shard, *row = index.place(number)
        assert shard == 0
        assert row[1::2] == [places.get(name, ABSENT) for name in index.fields]
    assert index.counts() == {n: c for n in index.fields if (c := sum(n in places for _, places in samples))}


def _fill(rows: Rows, samples: list[tuple[str, dict[str, int]]]) -> None:
    for number, (key, places) in enumerate(samples):
        rows.add(key, [Field(name, number, size) for name, size in places.items()])


def test_shards_of_other_fields_make_one_index() -> None:
    """A folder where one tar has png and the next jpg and cls has all of them; absence is kept."""
    parts = []
    for name, extensions in (("a.tar", ("txt", "png")), ("b.tar", ("cls", "jpg"))):
        rows = Rows()
        for number in range(2):
            rows.add(f"{name}{number}", [Field(one, 512 * number, 5) for one in extensions])
        parts.append(Index(rows.encode(name, 9999)))
    fields = ordered({"txt", "png", "cls", "jpg"})
    head = Head(shards=("a.tar", "b.tar"), samples=4, fields=fields, sizes=(9999, 8888), folder="/elsewhere")
    index = Index(b"".join(joined(head, parts.__getitem__)))
    assert index.fields == ("jpg", "png", "cls", "txt")
    assert (index.folder, index.sizes) == ("/elsewhere", (9999, 8888))
    assert index[1] == ("a.tar", Entry("a.tar1", (Field("png", 512, 5), Field("txt", 512, 5))))
    assert index[2] == ("b.tar", Entry("b.tar0", (Field("jpg", 0, 5), Field("cls", 0, 5))))
    assert [index.fields[index.image(index.place(number))] for number in range(4)] == [
        *["png"] * 2,
        *["jpg"] * 2,
    ]


def test_the_picture_is_the_preferred_of_those_that_a_sample_has() -> None:
    """jpg before png whatever the order of the fields, and -1 where there is no picture."""
    rows = Rows()
    rows.add("both", [Field("png", 0, 1), Field("jpg", 1, 1)])
    rows.add("one", [Field("txt", 0, 1), Field("png", 1, 1)])
    rows.add("none", [Field("txt", 0, 1)])
    index = Index(rows.encode("a.tar"))
    found = [index.image(index.place(number)) for number in range(3)]
    assert found == [index.fields.index("jpg"), index.fields.index("png"), -1]
    reverse = Head(shards=("a.tar",), samples=3, fields=("txt", "png", "jpg"))
    turned = Index(b"".join(joined(reverse, lambda _: index)))
    assert [turned.image(turned.place(number)) for number in range(3)] == [2, 1, -1]
    assert IMAGES[0] == "jpg"


def test_a_picture_may_have_a_longer_name() -> None:
    """Such as left.png, where a sample has no plain one; a mask beside a picture is none."""
    rows = Rows()
    rows.add("pair", [Field("right.jpg", 0, 1), Field("left.png", 1, 1)])
    rows.add("mask", [Field("left.png", 0, 1), Field("webp", 1, 1), Field("xjpg", 1, 1)])
    index = Index(rows.encode("a.tar"))
    assert [index.fields[index.image(index.place(number))] for number in range(2)] == ["left.png", "webp"]
    assert len(index.images) == 3


def test_a_member_that_an_index_cannot_hold_is_refused() -> None:
    """Sizes from 4 GiB on have no place in a record; nothing is added then."""
    rows = Rows()
    with pytest.raises(ValueError, match="too large"):
        rows.add("a", [Field("jpg", 0, ABSENT)])
    assert (rows.samples, len(Index(rows.encode("a.tar")))) == (0, 0)


def test_too_many_bytes_of_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a key has 32 bits: what does not fit is an error, never a wrong number."""
    monkeypatch.setattr("g3m.core.indexing.KEYS_LIMIT_BYTES", 3)
    with pytest.raises(ValueError, match="4 GiB"):
        encode([IndexedShard("a.tar", (Entry("abc", ()),))])


@pytest.mark.parametrize("count", [0, 1, 2, 5, 50])
@pytest.mark.parametrize("letter", ["k", "é", "\U0001f600"])
def test_all_keys_come_in_order(count: int, letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the alphabet and wherever a piece ends, keys are those of the samples."""
    monkeypatch.setattr("g3m.core.index._KEYS_AT_ONCE", 7)
    keys = [f"{letter if number % 9 == 8 else 'a'}{number}" for number in range(count)]
    index = Index(encode([IndexedShard("a.tar", tuple(Entry(key, ()) for key in keys))]))
    assert list(index.keys()) == keys == [index.key(number) for number in range(count)]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=12))
def test_repeated_keys_are_counted(keys: list[str]) -> None:
    """Each sample whose key came before counts once, and the example is one of those keys."""
    count, example = repeated(lambda: iter(keys))
    assert count == len(keys) - len(set(keys))
    assert keys.count(example) > 1 if count else not example


def _patched(data: bytes, at: int, layout: str, value: int) -> Index:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, value)
    return Index(bytes(changed))


RECORDS = len(Head(shards=tuple(shard.name for shard in TOY), samples=3, checked=True).encode())


def test_a_shard_that_is_not_there_is_never_read() -> None:
    """A record with a wild number of its shard gives NotVerified, not the name of another one."""
    for number in (3, 2**31, 2**32 - 1):
        index = _patched(encode(TOY), RECORDS, "<I", number)
        for read in (index.place, index.__getitem__):
            with pytest.raises(NotVerified, match="damaged at sample 0"):
                read(0)
        assert index[2][0] == "00002.tar"


def test_a_key_outside_is_never_read() -> None:
    """Ends of keys that run backwards or beyond the file give NotVerified, one by one and all together."""
    for end in (5, 6, 2**32 - 1):
        index = _patched(encode(TOY), RECORDS + 4, "<I", end)
        with pytest.raises(NotVerified, match="damaged at sample"):
            list(index.keys())
        if end > 5:
            with pytest.raises(NotVerified, match="damaged at sample 0"):
                index.key(0)
        with pytest.raises(NotVerified, match="damaged at sample 1"):
            index.key(1)


def test_a_key_that_is_no_text_is_an_error_of_ours() -> None:
    """A letter cut in two is NotVerified, one by one and all together."""
    index = _patched(encode(TOY), RECORDS + 4, "<I", 3)  # inside of the é
    for read in (lambda: index.key(1), lambda: list(index.keys())):
        with pytest.raises(NotVerified, match="damaged"):
            read()


@pytest.mark.parametrize(("offset", "size"), [(2**63, 1), (2**64 - 1, 9), (990, 11), (1001, 0)])
def test_bytes_behind_the_end_of_a_shard_are_never_asked_for(offset: int, size: int) -> None:
    """Where sizes are known, from the head or from a manifest, a record cannot point behind the end."""
    data = encode([IndexedShard("a.tar", (Entry("a", (Field("jpg", 5, 5), Field("txt", 990, 10))),))])
    at = len(Head(shards=("a.tar",), samples=1, checked=True).encode()) + 8
    assert Index(data, [1000]).place(0) == (0, 5, 5, 0, ABSENT, 990, 10)
    changed = bytearray(data)
    struct.pack_into("<QI", changed, at, offset, size)
    with pytest.raises(NotVerified, match="damaged at sample 0"):
        Index(bytes(changed), [1000]).place(0)
    if offset >= 2**63:
        with pytest.raises(NotVerified, match="damaged at sample 0"):
            Index(bytes(changed)).place(0)


def test_as_many_sizes_as_shards() -> None:
    """A manifest of other shards than the index is refused at once."""
    with pytest.raises(ValueError, match="2 sizes for 3 shards"):
        Index(encode(TOY), [1, 2])


@given(st.data())
def test_no_flipped_bit_reads_wrong_memory(data: st.DataObject) -> None:
    """Any byte changed: an error at opening, an error at reading, or a place inside the shards it names."""
    rows = Rows()
    for number, key in enumerate(("a", "bé", "c/d")):
        rows.add(key, [Field("png", 512 * number, 9), Field("txt", 700 + number, 3)])
    whole = bytearray(rows.encode("a.tar", 2000))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        index = Index(bytes(whole))
    except ValueError:
        return
    for number in range(len(index)):
        try:
            shard, *row = index.place(number)
            index.key(number)
        except NotVerified:
            continue
        assert 0 <= shard < len(index.shards)
        for offset, size in zip(row[::2], row[1::2], strict=True):
            assert size == ABSENT or offset + size <= (index.sizes or (2**63,))[shard]


@given(st.lists(st.integers(0, 5), max_size=6))
def test_where_each_shard_begins(counts: list[int]) -> None:
    """Also for shards without samples; the last number is how many samples there are."""
    written = [
        IndexedShard(
            f"{shard}.tar", tuple(Entry(f"{shard}-{at}", (Field("jpg", 512, 1),)) for at in range(count))
        )
        for shard, count in enumerate(counts)
    ]
    starts = Index(encode(written)).starts()
    assert starts == [sum(counts[:shard]) for shard in range(len(counts) + 1)]


def test_what_the_order_of_pictures_is() -> None:
    """JPEG first, then what keeps all of a picture; a longer name counts as its end."""
    assert pictures([*reversed(IMAGES), "txt", "left.tif"]) == [*IMAGES, "left.tif"]
    assert IMAGES == ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tiff", "tif")
    assert FIELDS == ("jpg", "json", "txt")


def test_the_head_has_bounds() -> None:
    """Sixteen fields, each once, and at least one; sizes from 0 to the largest that a file can have."""
    many = tuple(f"f{number}" for number in range(16))
    assert Head(shards=("a",), samples=0, fields=many, sizes=(2**63 - 1,)).fields == many
    assert Head(shards=("a",), samples=0, sizes=(0,)).folder == ""
    for wrong in (
        {"fields": (*many, "g")}, {"fields": ()}, {"fields": ("jpg", "jpg")}, {"sizes": (2**63,)}, {"sizes": (-1,)}, {"sizes": (True,)},
        {"sizes": (1, 2)}, {"samples": -1}, {"samples": True}, {"samples": 1.0}, {"shards": ("../a",)}, {"shards": (5,)}, {"fields": ("a/b",)},
        {"folder": None},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="the head of the index is not right"):
            Head(**{"shards": ("a",), "samples": 0, **wrong})  # type: ignore[arg-type]


def placed(*samples: tuple[tuple[int, int], ...], names: tuple[str, ...] = FIELDS) -> Index:
    entries = [
        Entry(f"k{number}", tuple(Field(name, *span) for name, span in zip(names, spans, strict=False)))
        for number, spans in enumerate(samples)
    ]
    return Index(encode([IndexedShard("a.tar", tuple(entries))]))


def test_what_cannot_lie_there() -> None:
    """Files of a tar lie one behind the other, each behind its header of 512 bytes and padded to 512."""
    good = placed(((512, 5), (1536, 512), (2560, 513)), ((4096, 0), (4608, 1)))
    assert good.first_misplaced([2]) == -1
    assert good.first_misplaced([1]) == -1
    assert placed(((512, 5), (1024, 1))).first_misplaced([1]) == 0
    assert placed(((512, 5), (1535, 1))).first_misplaced([1]) == 0
    assert placed(((0, 5),)).first_misplaced([1]) == 0
    assert placed(((1536, 512), (512, 5), (2560, 1))).first_misplaced([1]) == -1
    assert placed(((512, 5),), ((1024, 5),)).first_misplaced([2]) == 1
    assert placed(((512, 5), (1536, 513), (2560, 1))).first_misplaced([1]) == 0
    assert placed(((512, 5),), ((1536, 5),)).first_misplaced([1, 1]) == 1


def test_keys_by_the_hundred_thousand() -> None:
    """Keys are read in pieces, and a wild end in a later piece is found too."""
    keys = [f"k{number:05}" for number in range(40_000)]
    data = encode([IndexedShard("a.tar", tuple(Entry(key, (Field("jpg", 512, 5),)) for key in keys))])
    assert list(Index(data).keys()) == keys
    size = 8 + 12 * len(FIELDS)
    start = len(data) - 4 - 6 * 40_000 - size * 40_000
    for number in (0, 16_383, 16_384, 39_998):
        for end in (6 * 40_000 + 1, 2**32 - 1):
            changed = bytearray(data)
            struct.pack_into("<I", changed, start + size * number + 4, end)
            found: list[str] = []
            with pytest.raises(NotVerified):
                found.extend(Index(bytes(changed)).keys())
            assert found == keys[: len(found)]


def test_as_many_fields_as_an_index_can_have() -> None:
    """Sixteen; the sample that brings one more is refused by its name, and nothing of it is added."""
    rows = Rows()
    rows.add("a", [Field(f"f{number:02}", 512, 1) for number in range(15)])
    rows.add("b", [Field("f15", 512, 1)])
    assert len(rows.fields) == 16
    with pytest.raises(ValueError, match="c: 'newer' is more than the 16 fields"):
        rows.add("c", [Field("f15", 512, 1), Field("new", 512, 1), Field("newer", 512, 1)])
    with pytest.raises(ValueError, match="d: a member is too large"):
        rows.add("d", [Field("f15", 512, ABSENT)])
    assert (rows.samples, len(rows.fields)) == (2, 16)
    assert list(Index(rows.encode("a.tar")).keys()) == ["a", "b"]


@pytest.mark.parametrize(
    "keys", [["a", "b", "a"], ["b", "b", "a"], ["x"] * 3, [*map(str, range(2000)), "7", "9"]]
)
def test_an_example_of_what_is_repeated(keys: list[str]) -> None:
    """A key that there is more than once, whatever stands around it."""
    count, example = repeated(lambda: iter(keys))
    assert count == len(keys) - len(set(keys)) > 0
    assert keys.count(example) > 1
