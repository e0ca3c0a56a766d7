"""core/samples.py: the contract of text, keys, json and shards."""

from __future__ import annotations

import collections
import json
import pickle
import string
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.realdata import REAL

from g3m.core.errors import BadArchive
from g3m.core.members import Member
from g3m.core.samples import (
    KEY_LIMIT,
    REASONS,
    SHARD_SAMPLES,
    Caption,
    Draft,
    Pick,
    Ref,
    caption_problem,
    clean,
    coco_drafts,
    keep_last,
    narrative_drafts,
    readable,
    safe_key,
    shard_name,
    shard_number,
    slim_coco,
    treat_caption,
)
from g3m.core.treatment import CAPTION_BOUND_BYTES, CAPTION_LIMIT_BYTES, Action, Treatment

OFFICIAL = REAL / "coco_captions_val2017" / "captions_val2017.json"

GOLDEN = (
    "A woman stands in the dining area at the table. A room with chairs, a table, and a woman in it. "
    "A woman standing in a kitchen by a window A person standing at a table in a room. "
    "A living area with a television and a table"
)
"""The text of image 139 as NXTP's docs/README.md prints it."""

# The five captions of image 139, given blanks and a line end as other captions of the file have them, between others.
TOY = json.dumps(
    {
        "info": {"description": "COCO 2017 Dataset"},
        "licenses": [{"url": "http://x/", "id": 2, "name": "L"}],
        "images": [
            {
                "license": 4,
                "file_name": "000000397133.jpg",
                "height": 427,
                "flickr_url": "http://f/1",
                "id": 397133,
            },
            {
                "license": 2,
                "file_name": "000000000139.jpg",
                "height": 426,
                "flickr_url": "http://f/2",
                "id": 139,
            },
            {"license": 3, "file_name": "000000000285.jpg", "height": 640, "id": 285},
        ],
        "annotations": [
            {"image_id": 139, "id": 90570, "caption": "A woman stands in the dining area at the table."},
            {"image_id": 397133, "id": 1, "caption": "A man is in a kitchen making pizzas."},
            {"image_id": 139, "id": 94953, "caption": " A room with chairs, a table, and a woman in it. "},
            {"image_id": 139, "id": 9, "caption": "A woman standing in a kitchen by a window\n"},
            {"image_id": 139, "id": 5, "caption": "A person standing at a table in a room."},
            {"image_id": 139, "id": 98916, "caption": "A living area with a television and a table"},
            {"image_id": 397133, "id": 2, "caption": "getting ready to be cut\n."},
        ],
    }
).encode()

documents = [pytest.param(TOY, id="toy")]
if OFFICIAL.is_file():
    documents.append(pytest.param(OFFICIAL.read_bytes(), id="real"))


def coco(content: bytes, **options: Any) -> list[Draft]:
    return list(coco_drafts(json.loads(content, object_hook=slim_coco), "val2017", **options))


@pytest.mark.parametrize("content", documents)
def test_the_golden_record(content: bytes) -> None:
    """Image 139 has the key, the text and the first three json keys that NXTP's own shards show."""
    draft = coco(content)[0]
    assert (draft.ordinal, draft.key, draft.image, draft.problem) == (
        0,
        "000000000139",
        "000000000139.jpg",
        "",
    )
    assert draft.text == GOLDEN
    assert list(draft.meta)[:3] == ["path", "cap", "split"]
    assert list(draft.meta.values())[:3] == ["000000000139.jpg", GOLDEN, "val2017"]
    assert draft.meta["license"] == 2
    assert draft.meta["flickr_url"].startswith("http://f")


@pytest.mark.parametrize("content", documents)
def test_texts_are_the_stripped_captions_in_file_order(content: bytes) -> None:
    """For every image, computed again from the raw file: stripped, joined by one space, in the file's order."""
    raw = json.loads(content)
    own: dict[int, list[str]] = collections.defaultdict(list)
    for annotation in raw["annotations"]:
        own[annotation["image_id"]].append(annotation["caption"].strip())
    drafts = coco(content)
    assert [draft.meta["image_id"] for draft in drafts] == sorted(image["id"] for image in raw["images"])
    assert [draft.ordinal for draft in drafts] == list(range(len(drafts)))
    for draft in drafts:
        captions = own[draft.meta["image_id"]]
        assert (draft.text, draft.meta["captions"]) == (" ".join(captions), captions)


@pytest.mark.parametrize("content", documents)
def test_without_extras_the_json_is_the_old_one(content: bytes) -> None:
    """For parity the json holds exactly path, cap and split; the extra keys only follow after them."""
    for plain, full in zip(coco(content, extra=False), coco(content), strict=True):
        assert list(plain.meta) == ["path", "cap", "split"]
        assert list(full.meta) == [*plain.meta, "image_id", "captions", "license", "flickr_url"]
        assert {key: full.meta[key] for key in plain.meta} == plain.meta
        assert (plain.text, plain.key) == (full.text, full.key)


if OFFICIAL.is_file():

    def test_the_real_file_gives_five_thousand_samples_in_two_shards() -> None:
        """The official captions_val2017.json has 5,000 images, all with captions, in shards of 2,998 and 2,002."""
        drafts = coco(OFFICIAL.read_bytes())
        assert len(drafts) == len({draft.key for draft in drafts}) == 5_000
        assert not any(draft.problem for draft in drafts)
        counts = collections.Counter(shard_number(draft.ordinal) for draft in drafts)
        assert counts == {0: 2_998, 1: 2_002}
        assert sum(len(draft.meta["captions"]) for draft in drafts) == 25_014
        assert not any(caption != caption.strip() for draft in drafts for caption in draft.meta["captions"])


def test_an_inner_line_end_stays_and_an_image_without_captions_is_said() -> None:
    """Only the ends of a caption are cut; an image that nobody described keeps its place with a reason."""
    _, lonely, pizza = coco(TOY)
    assert pizza.text == "A man is in a kitchen making pizzas. getting ready to be cut\n."
    assert (lonely.ordinal, lonely.problem, lonely.text, lonely.meta["captions"]) == (1, "no_caption", "", [])
    assert lonely.meta["flickr_url"] is None


@pytest.mark.parametrize(
    ("total", "shards", "last"),
    [(5_000, 2, 2_002), (118_287, 40, 1_327), (2_998, 1, 2_998), (2_999, 2, 1), (0, 0, 0)],
)
def test_the_partition_is_that_of_the_old_script(total: int, shards: int, last: int) -> None:
    """First 2,998 samples, then 2,999 each: 5,000 give 2,998 + 2,002; 118,287 give 40 shards, the last 1,327."""
    counts = list(collections.Counter(map(shard_number, range(total))).values())
    assert counts[:-1] == [SHARD_SAMPLES - (number == 0) for number in range(shards - 1)]
    assert (len(counts), counts[-1] if counts else 0) == (shards, last)


def test_the_partition_repeats_the_scripts_counter() -> None:
    """Step for step as SEED.md's loop counts: the counter rises before its use at every 2,999th sample."""
    folder = 1
    for i in range(4 * SHARD_SAMPLES):
        if (i + 1) % 2999 == 0:
            folder += 1
        assert shard_name(shard_number(i)) == str(folder - 1).zfill(5) + ".tar"


@given(st.text(max_size=120))
@example("_" * 100)
@example("a" * 79 + "._b")
def test_keys_are_safe_everywhere(name: str) -> None:
    """A key has ASCII letters, digits, `_` and `-` alone, at most 80, no dot, and is a key of itself."""
    key = safe_key(name)
    assert len(key) <= 80
    assert set(key) <= set(string.ascii_letters + string.digits + "_-")
    assert safe_key(key) in (key, key.rstrip("_"))


@given(st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=80))
def test_plain_names_are_their_own_keys(name: str) -> None:
    """What is safe already is not changed: COCO and Open Images ids stay as they are."""
    assert safe_key(name) == name


@given(st.text(st.characters(codec=None)))
def test_clean_text_can_be_written(text: str) -> None:
    """After cleaning a text is valid UTF-8 of the same length, and text without surrogates is untouched."""
    cleaned = clean(text)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert len(cleaned) == len(text)
    assert [a for a, b in zip(text, cleaned, strict=True) if a != b] == [
        c for c in text if "\ud800" <= c <= "\udfff"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a", ""),
        (" a ", ""),
        ("", "no_caption"),
        (" \n\t\u3000", "no_caption"),
        ("a" * CAPTION_LIMIT_BYTES, ""),
        ("a" * (CAPTION_LIMIT_BYTES + 1), "caption_too_long"),
        ("漢" * (CAPTION_LIMIT_BYTES // 3 + 1), "caption_too_long"),
        ("\ud800", ""),
    ],
)
def test_captions_that_cannot_stand_have_a_reason(text: str, problem: str) -> None:
    """Blank texts and texts above the limit in bytes are no captions; the reason is one of the table."""
    assert caption_problem(text) == problem
    assert problem == "" or problem in REASONS


@given(st.binary(max_size=40))
def test_bytes_that_are_no_utf8_are_read_as_others_read_them(raw: bytes) -> None:
    """Bytes kept aside by `surrogateescape` become what decoding with replacement gives."""
    assert readable(raw.decode("utf-8", "surrogateescape")) == raw.decode("utf-8", "replace")


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("\ud800\udfff"), max_size=20))
def test_readable_text_can_be_written(text: str) -> None:
    """Whatever stands in a JSON document can be written after it, and what could be before is not touched."""
    shown = readable(text)
    shown.encode()
    assert len(shown) == len(text)
    assert all(a == b or "\ud800" <= a <= "\udfff" for a, b in zip(text, shown, strict=True))


LONG = "a" * (CAPTION_LIMIT_BYTES + 1)
KEEP_LONG = {"caption_too_long": "keep"}


@pytest.mark.parametrize(
    ("text", "policy", "expected"),
    [
        ("words", {}, Caption(b"words")),
        (" words ", {}, Caption(b" words ")),
        ("", {}, Caption(b"", (), (), "no_caption")),
        (" \n", KEEP_LONG, Caption(b"", (), (), "no_caption")),
        ("caf\udce9", {}, Caption("caf\ufffd".encode(), ("caption_not_utf8",), ("caption_not_utf8",))),
        ("x\ud800", {}, Caption("x\ufffd".encode(), ("caption_not_utf8",), ("caption_not_utf8",))),
        (
            "x\ud800",
            {"caption_not_utf8": "reject"},
            Caption(b"", ("caption_not_utf8",), (), "caption_not_utf8"),
        ),
        (LONG, {}, Caption(b"", (), (), "caption_too_long")),
        (LONG[1:], {}, Caption(LONG[1:].encode())),
        (LONG, KEEP_LONG, Caption(LONG.encode(), ("caption_too_long",))),
        ("漢" * (CAPTION_LIMIT_BYTES // 3 + 1), {}, Caption(b"", (), (), "caption_too_long")),
        ("a" * CAPTION_BOUND_BYTES, KEEP_LONG, Caption(b"a" * CAPTION_BOUND_BYTES, ("caption_too_long",))),
        ("a" * (CAPTION_BOUND_BYTES + 1), KEEP_LONG, Caption(b"", (), (), "caption_too_long")),
    ],
    ids=[str(number) for number in range(13)],
)
def test_captions_obey_the_policy(text: str, policy: dict[str, Action], expected: Caption) -> None:
    """Replaced or rejected where they are no UTF-8, rejected or kept where they are long; never empty, never endless."""
    assert treat_caption(text, Treatment(policy=policy)) == expected


@pytest.mark.parametrize("limit_bytes", [CAPTION_LIMIT_BYTES, CAPTION_BOUND_BYTES])
def test_drafts_know_how_long_a_caption_may_be(limit_bytes: int) -> None:
    """What the policy keeps is not rejected while arranging either, in both kinds of captions."""
    document = {"images": [[1, "1.jpg", None, None]], "annotations": [[1, LONG]]}
    own = next(coco_drafts(document, "val", caption_limit_bytes=limit_bytes))
    line = json.dumps({"image_id": "1", "caption": LONG}).encode()
    told = next(narrative_drafts([(0, line)], number_repeats=True, caption_limit_bytes=limit_bytes))
    problem = "caption_too_long" if limit_bytes == CAPTION_LIMIT_BYTES else ""
    assert (own.problem, told.problem) == (problem, problem)


def test_a_coco_caption_with_half_a_character() -> None:
    """The json is as readable as ever; the text still shows what was wrong with it, so that it is counted."""
    document = {"images": [[1, "1.jpg", None, None]], "annotations": [[1, " half \ud800 "]]}
    draft = next(coco_drafts(document, "val"))
    assert draft.text == "half \ud800"
    assert (draft.meta["cap"], draft.meta["captions"]) == ("half \ufffd", ["half \ufffd"])


def test_every_reason_is_explained() -> None:
    """The table of reasons has a code in one form and a meaning for each."""
    for code, meaning in REASONS.items():
        assert code.replace("_", "").isalnum()
        assert code.islower()
        assert len(meaning) > 10


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"images": []},
        {"annotations": []},
        {"images": None, "annotations": []},
        {"images": [], "annotations": [1]},
        {"images": [], "annotations": [(1, None)]},
        {"images": [], "annotations": [([], "a")]},
        {"images": [{"id": 1}, {"id": 2}], "annotations": []},
    ],
)
def test_other_documents_are_a_bad_archive(document: Any) -> None:
    """Instances, an empty object or anything else is named as no captions file, with the file's name."""
    with pytest.raises(BadArchive, match=r"captions\.json: not a COCO captions file"):
        list(coco_drafts(document, "val2017", file="captions.json"))


@given(st.fixed_dictionaries({"images": json_values, "annotations": json_values}))
@example({"images": [{"id": 1}], "annotations": []})
@example({"images": [1, 2], "annotations": []})
@example({"images": "ab", "annotations": []})
@example({"images": [(float("inf"), "a.jpg", 1, None)], "annotations": []})
@example({"images": [([], "a.jpg", 1, None)], "annotations": []})
def test_no_document_breaks_the_reader(document: Any) -> None:
    """Whatever a file holds under the right names: samples or BadArchive, and no other exception."""
    try:
        assert all(isinstance(draft, Draft) for draft in coco_drafts(document, "val2017", file="x"))
    except BadArchive as error:
        assert "not a COCO captions file" in str(error)


def lines(*records: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    for record in records:
        yield offset, record
        offset += len(record)


def narrative(image_id: str, caption: str, **more: Any) -> bytes:
    return (
        json.dumps({"dataset_id": "open_images", "image_id": image_id, "caption": caption, **more}).encode()
        + b"\n"
    )


def test_a_narrative_keeps_what_describes_it() -> None:
    """Text, key, image and the short fields come over; traces and timings do not; the record's place is known."""
    record = narrative(
        "0001eeaf4aed83f9", "In this image.", annotator_id=7, voice_recording="v", traces=[[{"x": 1}]]
    )
    (_, draft) = narrative_drafts(lines(b"\n", record), number_repeats=True)
    assert (draft.ordinal, draft.key, draft.image) == (1, "0001eeaf4aed83f9", "0001eeaf4aed83f9.jpg")
    assert (draft.text, draft.problem, draft.line) == ("In this image.", "", (1, len(record)))
    assert draft.meta == {
        "dataset_id": "open_images",
        "image_id": "0001eeaf4aed83f9",
        "annotator_id": 7,
        "caption": "In this image.",
        "voice_recording": "v",
    }


ids = st.lists(st.text("0123456789abcdef", min_size=2, max_size=2), max_size=30)


@given(ids)
def test_repeated_narratives_are_numbered(found: list[str]) -> None:
    """Every narrative is kept: the first of an image has its id as key, the n-th has `_n`, and no key repeats."""
    drafts = list(
        narrative_drafts(lines(*(narrative(i, f"t{n}") for n, i in enumerate(found))), number_repeats=True)
    )
    assert [draft.text for draft in drafts] == [f"t{n}" for n in range(len(found))]
    assert len({draft.key for draft in drafts}) == len(found)
    for number, draft in enumerate(drafts):
        nth = found[: number + 1].count(found[number])
        assert draft.key == (found[number] if nth == 1 else f"{found[number]}_{nth}")
        assert draft.image == f"{found[number]}.jpg"


@given(ids)
def test_parity_keeps_what_overwriting_left(found: list[str]) -> None:
    """With repeated keys, `keep_last` gives the files of a folder that every narrative was written to in turn."""
    drafts = list(
        narrative_drafts(lines(*(narrative(i, f"t{n}") for n, i in enumerate(found))), number_repeats=False)
    )
    assert [draft.key for draft in drafts] == found
    folder = {draft.key: draft.text for draft in drafts}
    kept = keep_last(drafts)
    assert {draft.key: draft.text for draft in kept} == folder
    assert len(kept) == len(folder)
    assert [draft.ordinal for draft in kept] == sorted(draft.ordinal for draft in kept)


BROKEN = [
    b"",
    b"\n",
    b"{",
    b"[]",
    b"null",
    b"5",
    b'"text"',
    b"{}",
    b'{"image_id": "a"}',
    b'{"caption": "a"}',
    b"\xff\xfe{",
]


@given(st.lists(st.sampled_from([narrative("ab", "fine"), *BROKEN]), max_size=12))
def test_broken_lines_keep_their_place(records: list[bytes]) -> None:
    """A line that cannot be read is a rejected sample of its own number and moves no other one."""
    drafts = list(narrative_drafts(lines(*records), number_repeats=True))
    assert [draft.ordinal for draft in drafts] == list(range(len(records)))
    for number, (draft, record) in enumerate(zip(drafts, records, strict=True)):
        if record in BROKEN:
            assert (draft.problem, draft.key, draft.text) == ("bad_record", f"line-{number + 1}", "")
        else:
            assert (draft.problem, draft.text) == ("", "fine")
        assert draft.line == (sum(map(len, records[:number])), len(record))


@pytest.mark.parametrize("depth", [100_000])
def test_a_bottomless_line_is_a_bad_record(depth: int) -> None:
    """Nesting beyond Python's limit is refused, not a RecursionError."""
    (draft,) = narrative_drafts([(0, b"[" * depth)], number_repeats=True)
    assert draft.problem == "bad_record"


@pytest.mark.parametrize(
    ("key", "value"),
    [("caption", value) for value in (None, 5, True, [], ["a"], {"a": 1})]
    + [("image_id", value) for value in (None, [], {"a": 1})],
)
def test_a_field_that_is_no_text_is_a_bad_record(key: str, value: Any) -> None:
    """A null caption is not the caption "None"."""
    record = {"image_id": "ab", "caption": "fine", key: value}
    (draft,) = narrative_drafts([(0, json.dumps(record).encode())], number_repeats=True)
    assert draft.problem == "bad_record"


def test_an_empty_narrative_has_its_reason() -> None:
    """A record without words is rejected as such; a lone surrogate stays, for packing to find it."""
    blank, odd = narrative_drafts(
        lines(narrative("ab", " "), narrative("cd", "x\ud800")), number_repeats=True
    )
    assert (blank.problem, blank.key) == ("no_caption", "ab")
    assert (odd.problem, odd.text) == ("", "x\ud800")


members = st.builds(
    Member,
    st.text(max_size=10),
    st.sampled_from(["raw", "zip-stored", "zip-deflated", "file"]),
    st.integers(0, 2**40),
    st.integers(0, 2**31),
    st.integers(0, 2**31),
    st.none() | st.integers(0, 2**32 - 1),
)
refs = st.builds(Ref, st.text(max_size=10), members)
picks = st.builds(
    Pick,
    st.text(max_size=10),
    refs,
    st.text(st.characters(codec=None), max_size=10) | refs,
    st.dictionaries(st.text(max_size=5), json_values, max_size=3) | refs,
)


@given(picks)
def test_a_pick_is_its_line(pick: Pick) -> None:
    """A pick goes through its line of ASCII text or bytes unchanged: any text, any json, or references to either."""
    line = pick.to_line()
    assert Pick.from_line(line) == Pick.from_line(line.encode()) == pick
    assert line.isascii()
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert pickle.loads(pickle.dumps(pick)) == pick


def test_what_keys_and_drafts_begin_with() -> None:
    """The longest key, the bound of a key that may get a number, the shards of the papers; no problem unless one is named."""
    assert (SHARD_SAMPLES, KEY_LIMIT) == (2999, 70)
    assert Draft(0, "k", "i", "t", {}) == Draft(0, "k", "i", "t", {}, "", None)
    assert Caption(b"") == Caption(b"", (), (), "")
    assert safe_key("_" * 3 + "a" * 79 + "__b") == "a" * 79
    assert safe_key("a" * 81) == "a" * 80
    assert [shard_number(place) for place in (0, 2997, 2998, 5996, 5997)] == [0, 0, 1, 1, 2]
    assert (shard_name(0), shard_name(123_456)) == ("00000.tar", "123456.tar")


@pytest.mark.parametrize(
    ("text", "problem"),
    [(" \n", "no_caption"), ("a" * 65_536, ""), ("a" * 65_537, "caption_too_long"), ("é" * 32_768, ""), ("é" * 32_768 + "a", "caption_too_long"),
     ("😀" * 16_384, ""), ("😀" * 16_384 + "a", "caption_too_long"), ("\udcff" * 21_845, ""), ("\udcff" * 21_846, "caption_too_long")],
)  # fmt: skip
def test_how_many_bytes_a_caption_may_have(text: str, problem: str) -> None:
    """65,536 of UTF-8, whatever they are; what is none counts as the three bytes of U+FFFD."""
    assert caption_problem(text) == problem


def test_the_classes_of_a_long_caption() -> None:
    """Where it is kept it is said, in front of what else was found."""
    kept = Treatment(policy={"caption_too_long": "keep"})
    assert treat_caption("a" * 65_536, kept) == Caption(b"a" * 65_536)
    assert treat_caption("a" * 65_537, kept).found == ("caption_too_long",)
    odd = treat_caption("\udcff" + "a" * 65_536, kept)
    assert (odd.found, odd.fixed, odd.reason) == (
        ("caption_too_long", "caption_not_utf8"),
        ("caption_not_utf8",),
        "",
    )
    assert treat_caption("a" * (2**20 + 1), kept) == Caption(b"", (), (), "caption_too_long")


def test_a_captions_file_is_named_in_its_error() -> None:
    """Where its name is known."""
    with pytest.raises(BadArchive, match=r"^a\.json: not a COCO captions file"):
        list(coco_drafts({}, "val", file="a.json"))
    with pytest.raises(BadArchive, match=r"^: not a COCO captions file"):
        list(coco_drafts({}, "val"))
