"""core/pairs.py: which form a heap of files has, and which caption belongs to which image."""

from __future__ import annotations

import string
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from g3m.core.pairs import (
    CAPTION_COLUMNS,
    IMAGE_SUFFIXES,
    KEY_COLUMNS,
    Record,
    has_triplets,
    image_of_url,
    is_image,
    json_records,
    line_records,
    positions,
    stem,
    suffix,
    unique_keys,
)

# The first record of SBU in every form that is known (data-facts.md, section 2).
URL = "http://static.flickr.com/2723/4385058960_b0f291553e.jpg"
IMAGE = "4385058960_b0f291553e.jpg"
CAPTION = "A wooden chair in the living room"


@pytest.mark.parametrize(
    ("document", "form", "record"),
    [
        (
            {"image_urls": [URL], "captions": [CAPTION], "user_ids": ["47889917@N08"]},
            "arrays",
            Record(IMAGE, CAPTION, URL, 0),
        ),
        (
            [{"image": IMAGE, "caption": CAPTION.lower(), "url": URL}],
            "images",
            Record(IMAGE, CAPTION.lower(), URL),
        ),
        ([{"image": f"sbu/{IMAGE}", "caption": [CAPTION, "x"]}], "images", Record(IMAGE, CAPTION)),
        ([{"url": URL, "caption": CAPTION}], "urls", Record(IMAGE, CAPTION, URL)),
    ],
)
def test_the_golden_record_in_every_json_form(document: Any, form: str, record: Record) -> None:
    """Record 0 of SBU comes out the same from arrays, from objects with images and from objects with URLs."""
    assert json_records(document) == (form, [record])


def test_the_golden_record_by_lines() -> None:
    """The two text files give the same record by line number."""
    assert line_records(f"{URL}\nhttp://x/b.jpg\n", f"{CAPTION}\nb\n") == [
        Record(IMAGE, CAPTION, URL),
        Record("b.jpg", "b", "http://x/b.jpg"),
    ]


@pytest.mark.parametrize(
    "document",
    [
        None,
        5,
        "text",
        [],
        {},
        [5],
        [[]],
        [{}],
        [{"caption": "a"}],
        [{"image": "a.jpg"}],
        [{"url": URL}],
        [{"text": "a", "image": "b.jpg"}],
        {"image_urls": [URL]},
        {"captions": ["a"]},
        {"image_urls": [URL], "captions": []},
        {"image_urls": URL, "captions": CAPTION},
        {"image_urls": {"0": URL}, "captions": {"0": CAPTION}},
        {"images": [], "annotations": []},
    ],
)
def test_other_documents_are_none_of_ours(document: Any) -> None:
    """A JSON file of another kind, or arrays of unequal length, is not recognised instead of guessed at."""
    assert json_records(document) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["image", "url", "caption", "captions", "image_urls"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(json_values)
@example([{"image": "a.jpg", "caption": "a"}, 5])
@example([{"url": "http://[half/a.jpg", "caption": "a"}])
@example({"image_urls": ["http://[half/a.jpg"], "captions": ["a"]})
def test_no_document_breaks_the_recognition(document: Any) -> None:
    """Whatever a JSON file holds, the answer is records or None."""
    found = json_records(document)
    assert found is None or all(isinstance(record, Record) for record in found[1])


@pytest.mark.parametrize("value", [None, []])
@pytest.mark.parametrize("form", ["arrays", "images"])
def test_a_missing_caption_is_an_empty_one(form: str, value: Any) -> None:
    """Null is not the caption "None", and no captions are not "[]": the sample is rejected with its reason later."""
    documents = {
        "arrays": {"image_urls": [URL, URL], "captions": [CAPTION, value]},
        "images": [{"image": IMAGE, "caption": CAPTION}, {"image": IMAGE, "caption": value}],
    }
    found = json_records(documents[form])
    assert found is not None
    assert [record.caption for record in found[1]] == [CAPTION, ""]


def test_records_keep_their_order_and_number() -> None:
    """Every entry of a file is a record, also one that lacks a key: positions and lines must not shift."""
    found = json_records([{"image": "a.jpg", "caption": "a"}, {}, {"image": "c.jpg", "caption": "c"}])
    assert found == ("images", [Record("a.jpg", "a"), Record("", ""), Record("c.jpg", "c")])
    arrays = json_records({"image_urls": [URL, "", URL], "captions": ["a", "b", "c"]})
    assert arrays is not None
    assert [(record.position, record.caption) for record in arrays[1]] == [(0, "a"), (1, "b"), (2, "c")]


def test_what_is_no_utf8_stays_for_packing_to_find() -> None:
    """Neither an escape of the file nor a byte of it is changed here: it would never be counted."""
    found = json_records({"image_urls": [URL], "captions": ["x\ud800"]})
    assert found is not None
    assert found[1][0].caption == "x\ud800"
    lines = line_records(f"{URL}\n", b"caf\xe9\n".decode("utf-8", "surrogateescape"))
    assert lines is not None
    assert lines[0].caption == "caf\udce9"


@given(st.text(string.ascii_letters + string.digits + " é漢%+&=,", min_size=1, max_size=20))
def test_the_file_name_of_a_url_is_decoded(name: str) -> None:
    """Percent escapes are undone; query and fragment are no part of the name."""
    for tail in ("", "?x=/y.jpg", "#/z"):
        assert image_of_url(f"https://host/a/{quote(name)}.jpg{tail}") == f"{name}.jpg"


@pytest.mark.parametrize(("url", "name"), [("", ""), ("http://h", ""), ("http://h/", ""), ("a.jpg", "a.jpg")])
def test_urls_without_a_file_have_no_name(url: str, name: str) -> None:
    """A URL that ends in a folder names no image."""
    assert image_of_url(url) == name


def test_a_broken_url_has_no_name() -> None:
    """One unreadable URL among a million is one rejected sample, not the end of the dataset."""
    assert image_of_url("http://[half/a.jpg") == ""


one_line = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), min_size=1, max_size=8)


@given(st.lists(one_line, min_size=1, max_size=8), st.booleans(), st.booleans())
def test_lines_are_paired_by_number(captions: list[str], mark: bool, end: bool) -> None:
    """Line n belongs to line n, whatever looks like a line end inside; a byte order mark and a last newline fall away."""
    captions = [caption.lstrip("\ufeff").rstrip("\r") or "x" for caption in captions]
    urls = [f"http://h/{number}.jpg" for number in range(len(captions))]
    found = line_records("\n".join(urls) + "\n" * end, "\ufeff" * mark + "\n".join(captions) + "\n" * end)
    assert found == [Record(f"{n}.jpg", caption, urls[n]) for n, caption in enumerate(captions)]


@given(st.integers(1, 9), st.integers(1, 9))
def test_unequal_lengths_are_refused(urls: int, captions: int) -> None:
    """If the numbers of lines differ, nobody knows what belongs together."""
    found = line_records("http://h/a.jpg\n" * urls, "a\n" * captions)
    assert (found is None) is (urls != captions)


def test_empty_lines_keep_their_place() -> None:
    """An empty caption between others is a caption line, so that the later ones do not shift."""
    found = line_records("http://h/a.jpg\nhttp://h/b.jpg\nhttp://h/c.jpg", "a\n\nc")
    assert found is not None
    assert [record.caption for record in found] == ["a", "", "c"]


def test_windows_line_ends_are_no_part_of_captions() -> None:
    """A text file that passed through Windows gives the same records."""
    assert line_records(f"{URL}\r\n", f"{CAPTION}\r\n") == [Record(IMAGE, CAPTION, URL)]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["00000/000000000.jpg", "00000/000000000.txt"], True),
        (["00000/000000000.jpg", "00000/000000000.json"], True),
        (["a.JPG", "a.txt"], True),
        (["a/x.jpg", "b/x.txt"], False),
        (["a.jpg", "b.txt"], False),
        (["a.jpg", "a.xml"], False),
        (["a.txt", "a.json"], False),
        (["SBU_captioned_photo_dataset_urls.txt", "x.jpg"], False),
        ([], False),
    ],
)
def test_triplets_are_recognised_by_their_stems(names: list[str], found: bool) -> None:
    """Images with a text or json of their own stem in their own folder are triplets; other neighbours are not."""
    assert has_triplets(iter(names)) is found
    assert has_triplets(reversed(names)) is found


@given(
    st.sets(st.integers(0, 9_999_999), min_size=1, max_size=8), st.sampled_from(["", "sbu_images/", "a/b/"])
)
def test_positions_are_read_from_two_numbers(places: set[int], folder: str) -> None:
    """NNNN/MMM is the place NNNN*1000+MMM in the arrays, in whatever folder and for any image suffix."""
    names = {place: f"{folder}{place // 1000:04d}/{place % 1000:03d}.jpg" for place in places}
    assert positions(list(names.values())) == names


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["a.jpg"],
        ["0001/002.jpg", "a.jpg"],
        ["001/002.jpg"],
        ["00001/002.jpg"],
        ["0001/0002.jpg"],
        ["0001/002"],
    ],
)
def test_other_names_are_no_positions(names: list[str]) -> None:
    """One image that is named otherwise is enough: names say nothing about places then."""
    assert positions(names) is None


@pytest.mark.parametrize("names", [["a/0001/002.jpg", "b/0001/002.jpg"], ["0001/002.jpg", "0001/002.png"]])
def test_two_images_at_one_place_are_no_positions(names: list[str]) -> None:
    """If two images claim a place, the names cannot be trusted, and none is dropped in silence."""
    assert positions(names) is None


@given(st.lists(st.text(string.ascii_letters + "./", max_size=8), max_size=3).map("/".join))
def test_stem_and_suffix_make_the_name(name: str) -> None:
    """A name is its stem and its suffix; the suffix is lower case, has its dot, and never spans folders."""
    assert stem(name) + name[len(stem(name)) :] == name
    assert name[len(stem(name)) :].lower() == suffix(name)
    assert suffix(name) == "" or suffix(name)[0] == "."
    assert "/" not in suffix(name)


@pytest.mark.parametrize(
    ("name", "dotted", "image"),
    [
        ("a/b.JPEG", ".jpeg", True),
        ("a.tar.gz", ".gz", False),
        ("a.b/c", "", False),
        (".jpg", "", False),
        ("a/.jpg", "", False),
        ("a.", ".", False),
        ("x.jpg.txt", ".txt", False),
        *((f"x{ending}", ending, True) for ending in IMAGE_SUFFIXES),
    ],
)
def test_images_are_known_by_their_suffix(name: str, dotted: str, image: bool) -> None:
    """The last suffix of the last component decides, in any case; a hidden file has none."""
    assert suffix(name) == dotted
    assert is_image(name) is image


@given(st.lists(st.text(string.ascii_letters + "_.é", max_size=5), max_size=20))
def test_each_name_has_a_safe_key(names: list[str]) -> None:
    """As many keys as names, in order, none empty, at most 80 characters; the first of a kind is unchanged."""
    keys = list(unique_keys(names))
    assert len(keys) == len(names)
    assert all(0 < len(key) <= 80 for key in keys)
    assert all(set(key) <= set(string.ascii_letters + string.digits + "_-") for key in keys)


@given(
    st.lists(
        st.sampled_from(["a", "a_2", "a.2", "a_2_2", "a_3", "b", "", "sample", "é", "x" * 75]), max_size=12
    )
)
@example(["a", "a_2", "a"])
@example(["a", "a", "a_2"])
def test_keys_never_repeat(names: list[str]) -> None:
    """Also where a name already ends as a numbered key would: no two names share a key."""
    keys = list(unique_keys(names))
    assert len(set(keys)) == len(keys) == len(names)


@given(st.integers(1, 30))
def test_repeats_are_numbered_from_two(count: int) -> None:
    """The n-th of the same name has `_n`."""
    assert list(unique_keys(["a.b"] * count)) == ["a_b", *(f"a_b_{n}" for n in range(2, count + 1))]


def test_what_names_promise() -> None:
    """The ends of pictures, and the columns that are looked for, the best first."""
    assert IMAGE_SUFFIXES == (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
    assert CAPTION_COLUMNS == ("descript", "caption", "captions", "text", "TEXT", "txt", "sentence")
    assert KEY_COLUMNS == ("key", "__key__", "id", "image_id")
    assert Record("a", "b") == Record("a", "b", "", -1)


def test_blanks_around_an_address_are_no_part_of_it() -> None:
    """On both sides, as lists have them; the caption keeps its own."""
    (record,) = line_records(" http://h/a.jpg \r\n", " a b \r\n") or []
    assert (record.image, record.url, record.caption) == ("a.jpg", "http://h/a.jpg", " a b ")
