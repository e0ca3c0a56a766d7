"""steps/pairs.py: a heap of files in any of its forms becomes pairs; what has no partner is told."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.steps.offline import Files, Made, make, tar_bytes, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.core.errors import NotRecognised, TooManyRejected
from g3m.lab.drawings import SBU_FIRST, draw
from g3m.lab.sbu import (
    FORMS,
    GOLDEN_CAPTION,
    GOLDEN_URL,
    MISSING_PLACE,
    PERIOD,
    WHOLE_FORMS,
    sbu,
    surviving_pairs,
)

SAMPLES = 20
RULE = {"reader": "pairs"}


def pack(folder: Path, files: Files, **options: object) -> Made:
    """Pack a heap of files."""
    archive = zip_of(folder / "source" / "heap.zip", files)
    return make(
        my_recipe(folder / "heap.toml", [(archive, [])], {**RULE, "images": archive.name}), archive, **options
    )


def expected_text(position: int, form: int) -> str:
    """The caption that record `position` has in a form, by the lab's own rules."""
    text = GOLDEN_CAPTION if position == 0 else draw(0, SBU_FIRST + position).captions[0].strip()
    if position and position % 10 == 4:
        text += " – déjà vu"
    return text.lower() if form == 6 else text


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("unpacked", [False, True], ids=["zip", "folder"])
def test_every_form_of_sbu(tmp_path: Path, form: int, unpacked: bool) -> None:
    """Exactly the records whose image is there survive, each image with its own caption, in the order of the source."""
    archive = sbu(tmp_path / "source", form, SAMPLES)
    recipe = my_recipe(tmp_path / "mine.toml", [(archive, ["."])], {**RULE, "images": archive.name})
    source = archive
    if unpacked:
        source = tmp_path / "unpacked"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(source)
    made = make(recipe, source)
    survivors = surviving_pairs(form, SAMPLES)
    found = [(files["jpg"], files["txt"].decode()) for files in made.samples.values()]
    assert found == [(draw(0, SBU_FIRST + place).jpeg, expected_text(place, form)) for place in survivors]
    reasons = dict(made.manifest.rejected)
    if form in WHOLE_FORMS:
        assert reasons == {}
    else:
        lost = SAMPLES - len(survivors)
        assert sum(reasons.values()) == lost == len(made.rejected)
        missing = sum(place % PERIOD == MISSING_PLACE for place in range(SAMPLES))
        assert reasons == {"missing_image": missing, "empty_image": lost - missing}
    assert (
        made.manifest.form
        == {
            1: "triplets",
            2: "triplets",
            3: "arrays",
            4: "positions",
            5: "lines",
            6: "images",
            7: "urls",
            8: "table",
        }[form]
    )
    urls = [meta.get("url") for meta in made.metas.values()]
    assert form == 8 or urls[0] == GOLDEN_URL or form in (1, 2)


def images(*names: str) -> dict[str, bytes]:
    return {name: tiny_jpeg(name) for name in names}


def test_triplets_of_all_kinds(tmp_path: Path) -> None:
    """A text wins over a json's caption; a json alone will do; any case of suffix; every image format."""
    files = {
        **images("a.jpg", "b.JPG", "sub/c.jpeg"),
        "a.txt": b"text of a\n",
        "a.json": json.dumps({"caption": "json of a", "more": 1}).encode(),
        "b.json": json.dumps({"caption": " json of b "}).encode(),
        "sub/c.TXT": "ü".encode(),
        "__MACOSX/._a.jpg": b"junk",
        ".DS_Store": b"junk",
        "readme.md": b"junk",
    }
    made = pack(tmp_path, files)
    assert made.texts == {"a": "text of a", "b": "json of b", "c": "ü"}
    assert made.metas["a"] == {"caption": "json of a", "more": 1}
    assert made.metas["c"] == {"path": "c"}
    assert made.rejected == []


def test_what_has_no_partner_is_told(tmp_path: Path) -> None:
    """An image without words, words without an image, an empty image: each with its reason."""
    files = {
        **images("good.jpg", "silent.jpg"),
        "good.txt": b"words",
        "alone.txt": b"words",
        "empty.jpg": b"",
        "empty.txt": b"words",
        "blank.txt": b" \n",
        "nothing.json": b"{}",
        **images("blank.jpg", "nothing.jpg"),
    }
    made = pack(tmp_path, files)
    assert made.texts == {"good": "words"}
    assert sorted(made.rejected) == sorted(
        [
            ("silent", "no_caption"),
            ("alone", "missing_image"),
            ("empty", "empty_image"),
            ("blank", "no_caption"),
            ("nothing", "no_caption"),
        ]
    )


def test_the_same_name_in_two_folders(tmp_path: Path) -> None:
    """Both are packed; the second gets a key of its own."""
    files = {}
    for folder in ("x", "y"):
        files |= {f"{folder}/1.jpg": tiny_jpeg(folder), f"{folder}/1.txt": folder.encode()}
    made = pack(tmp_path, files)
    assert made.texts == {"1": "x", "1_2": "y"}
    assert made.samples["1_2"]["jpg"] == tiny_jpeg("y")


def test_a_name_that_looks_like_a_second_one(tmp_path: Path) -> None:
    """Names that fall together with the keys made for repeats are told apart, too."""
    files = {}
    for name in ("a.1", "a_1", "a_1_2"):
        files |= {f"{name}.jpg": tiny_jpeg(name), f"{name}.txt": name.encode()}
    made = pack(tmp_path, files)
    assert sorted(made.texts.values()) == ["a.1", "a_1", "a_1_2"]
    assert len(made.texts) == 3


def test_names_that_give_no_key(tmp_path: Path) -> None:
    """Names in other scripts get keys nevertheless, each its own; texts stay what they are."""
    files = {}
    for name in ("图片", "写真", "ü"):
        files |= {f"{name}.jpg": tiny_jpeg(name), f"{name}.txt": name.encode()}
    made = pack(tmp_path, files)
    assert len(made.texts) == 3
    assert set(made.texts.values()) == {"图片", "写真", "ü"}
    assert all(key.isascii() for key in made.texts)


def records(count: int = 3) -> list[dict[str, Any]]:
    return [
        {"image": f"{n}.jpg", "caption": f"caption {n}", "url": f"http://h/{n}.jpg"} for n in range(count)
    ]


def test_several_records_of_one_image(tmp_path: Path) -> None:
    """Two captions of one image are two samples with that image."""
    files = {
        **images("i/0.jpg"),
        "c.json": json.dumps([records()[0], {**records()[0], "caption": "again"}]).encode(),
    }
    made = pack(tmp_path, files)
    assert made.texts == {"0": "caption 0", "0_2": "again"}
    assert made.samples["0"]["jpg"] == made.samples["0_2"]["jpg"]


def test_captions_as_lists_and_oddities(tmp_path: Path) -> None:
    """A list of captions gives its first; half characters are replaced; what is no text is no caption."""
    odd = [["first", "second"], 17, "half \ud800", None, ""]
    rows = [{"image": f"{n}.jpg", "caption": caption} for n, caption in enumerate(odd)]
    made = pack(tmp_path, {**images(*(f"{n}.jpg" for n in range(5))), "c.json": json.dumps(rows).encode()})
    assert made.texts.pop("0") == "first"
    assert made.texts.pop("2") == "half \ufffd"
    assert "None" not in made.texts.values()
    assert {("3", "no_caption"), ("4", "no_caption")} <= set(made.rejected)


def test_json_that_is_not_ours_is_passed_over(tmp_path: Path) -> None:
    """Licences, statistics and broken JSON beside the captions do not disturb."""
    files = {
        "a-licence.json": b'{"a": 1}',
        "b-broken.json": b"{",
        "c-list.json": b"[1, 2]",
        "d-deep.json": b"[" * 100_000,
        "e-arrays.json": b'{"image_urls": ["http://h/0.jpg"], "captions": []}',
        "z-captions.json": json.dumps(records()).encode(),
        **images("0.jpg", "1.jpg", "2.jpg"),
    }
    assert set(pack(tmp_path, files).texts.values()) == {"caption 0", "caption 1", "caption 2"}


@pytest.mark.parametrize("bad", [[1], ["x"], [None], [[]]])
def test_a_list_whose_later_entries_are_something_else(tmp_path: Path, bad: list[Any]) -> None:
    """One odd entry in a list of records is an error of ours or a rejected record, never a crash."""
    files = {**images("0.jpg"), "c.json": json.dumps([records()[0], *bad]).encode()}
    try:
        made = pack(tmp_path, files)
    except NotRecognised:
        return
    assert made.texts == {"0": "caption 0"}


def test_lines_that_do_not_fit(tmp_path: Path) -> None:
    """Two files of lines with different lengths are not guessed at."""
    files = {**images("0.jpg"), "x_urls.txt": b"http://h/0.jpg\nhttp://h/1.jpg\n", "x_captions.txt": b"one\n"}
    with pytest.raises(
        NotRecognised, match=r"x_urls\.txt and x_captions\.txt have different numbers of lines"
    ):
        pack(tmp_path, files)


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    """A caption with a line separator or a carriage return in it stays with its own image."""
    captions = "one\u2028still one\r\ntwo\x0bstill two\n"
    files = {
        **images("0.jpg", "1.jpg"),
        "x_urls.txt": b"\xef\xbb\xbfhttp://h/0.jpg\r\nhttp://h/1.jpg\n",
        "x_captions.txt": captions.encode(),
    }
    assert pack(tmp_path, files).texts == {"0": "one\u2028still one", "1": "two\x0bstill two"}


@pytest.mark.parametrize(
    "files",
    [
        {"a.jpg": b"x", "b.jpg": b"x"},
        {"readme.md": b"x"},
        {"a.jpg": b"x", "captions.csv": b"a.jpg,words"},
        {"a.json": b"{}"},
    ],
)
def test_a_form_that_nobody_knows(tmp_path: Path, files: dict[str, bytes]) -> None:
    """NotRecognised says which files were seen, so that the form can be asked for."""
    with pytest.raises(NotRecognised) as caught:
        pack(tmp_path, files)
    assert "no captions were recognised; seen: " in caught.value.message
    for name in files:
        assert name in caught.value.message


def test_only_a_few_names_are_shown(tmp_path: Path) -> None:
    """A heap of a thousand files does not make a message of a thousand names."""
    with pytest.raises(NotRecognised) as caught:
        pack(tmp_path, {f"{n}.bin": b"x" for n in range(1000)})
    assert len(caught.value.message) < 300


def test_an_empty_heap(tmp_path: Path) -> None:
    """Nothing in the archive: said as it is."""
    with pytest.raises(NotRecognised, match="seen: nothing"):
        pack(tmp_path, {})


def test_the_folder_of_the_recipe(tmp_path: Path) -> None:
    """`images = "heap.zip/inner"` takes nothing from elsewhere."""
    files = {}
    for folder in ("inner", "outer"):
        files |= {f"{folder}/{folder}.jpg": tiny_jpeg(folder), f"{folder}/{folder}.txt": folder.encode()}
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {**RULE, "images": "heap.zip/inner"})
    assert make(recipe, archive).texts == {"inner": "inner"}


def parquet(columns: dict[str, list[Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def test_tables(tmp_path: Path) -> None:
    """Rows with bytes or {bytes, path}, with keys or without; what lacks an image or words is told."""
    files = {
        "a.parquet": parquet(
            {
                "key": ["k1", "k1", "k3"],
                "caption": ["one", "two", ""],
                "image": [tiny_jpeg(n) for n in range(3)],
            }
        ),
        "b.parquet": parquet(
            {
                "image": [
                    {"bytes": tiny_jpeg(7), "path": "x"},
                    {"bytes": None, "path": "y"},
                    {"bytes": b"", "path": "z"},
                ],
                "text": ["seven", "eight", "nine"],
                "url": ["http://h/7", None, None],
            }
        ),
    }
    made = pack(tmp_path, files)
    assert made.texts == {"k1": "one", "k1_2": "two", "000000003": "seven"}
    assert made.metas["000000003"] == {"path": "000000003", "cap": "seven", "url": "http://h/7"}
    assert made.rejected == [
        ("k3", "no_caption"),
        ("000000004", "missing_image"),
        ("000000005", "empty_image"),
    ]


def test_a_table_without_pictures(tmp_path: Path) -> None:
    """A table of links alone is not recognised; its columns are named."""
    files = {"a.parquet": parquet({"url": ["http://h/1"], "caption": ["one"]})}
    with pytest.raises(NotRecognised, match="no caption and image among the columns url, caption"):
        pack(tmp_path, files)


def test_tars_within_a_zip(tmp_path: Path) -> None:
    """img2dataset's shards in a zip: pairs of several tars, one dataset; keys that repeat are told apart."""
    tars = {f"0000{n}.tar": tar_bytes({"1.jpg": tiny_jpeg(n), "1.txt": f"of {n}".encode()}) for n in range(3)}
    made = pack(tmp_path, {**tars, "00000_stats.json": b'{"count": 1}'})
    assert made.texts == {"1": "of 0", "1_2": "of 1", "1_3": "of 2"}


def test_too_much_is_missing(tmp_path: Path) -> None:
    """The budget counts what has no partner."""
    files = {**images("0.jpg"), "c.json": json.dumps(records(4)).encode()}
    with pytest.raises(TooManyRejected, match=r"3 of 4 samples are unusable \(3 missing_image\)"):
        pack(tmp_path, files, max_rejected=0.7)
