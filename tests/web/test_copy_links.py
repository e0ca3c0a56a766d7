"""Which pages a copy has, and their addresses: bounded, relative, and never one that leads nowhere."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.ui.web.copy_links import CopyLinks, Page, Picture, slug

HELD = {"coco": 200, "a/B": 10}


def written(links: CopyLinks, page: Page) -> str:
    """Walk until that page is the one being written; returns its file."""
    for one, file in links.to_write():
        if one == page:
            return file
    raise AssertionError(page)


def test_the_first_page_lies_in_the_folder_itself() -> None:
    """index.html is what is double-clicked; other pages lie one folder deeper, and lead back."""
    links = CopyLinks(HELD, 60)
    assert written(links, Page("home")) == "index.html"
    assert links.page("stats", dataset="coco") == "pages/stats-coco.html"
    assert links.static("page.css") == "static/page.css"
    assert written(links, Page("stats", (("dataset", "coco"),))) == "pages/stats-coco.html"
    assert links.page("home") == "../index.html"
    assert links.static("page.css") == "../static/page.css"
    assert links.files == {"page.css"}
    assert not links.answers


def test_after_nothing_is_the_beginning() -> None:
    """One page has one file."""
    links = CopyLinks(HELD, 60)
    assert links.page("shards", dataset="coco", after=0) == links.page("shards", dataset="coco")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("search", {}),
        ("downloads", {}),
        ("live", {}),
        ("keys", {"dataset": "coco"}),
        ("browse", {"dataset": "coco", "width": "640-"}),
        ("browse", {"dataset": "coco", "q": "red"}),
        ("browse", {"dataset": "coco", "seed": 7}),
        ("browse", {"dataset": "nobody"}),
        ("browse", {"dataset": "coco", "before": 60}),
        ("stats", {"lang": "zh"}),
        ("leaks", {"of": "nobody"}),
        ("sample", {"dataset": "coco", "number": 60}),
        ("sample", {"dataset": "nobody", "number": 0}),
    ],
)
def test_what_a_copy_does_not_have_has_no_address(name: str, parameters: dict[str, object]) -> None:
    """Searches, filters, live pages, other languages, samples beyond the bound: text without a link."""
    links = CopyLinks(HELD, 60)
    assert links.page(name, **parameters) is None
    assert links.original("coco", 0) is None
    assert [page.name for page, _ in links.to_write()] == ["home"]


def test_a_list_goes_on_for_as_many_pages_as_were_asked_for() -> None:
    """100 samples are two pages of the grid; the second leads back to the first, and on to none."""
    links = CopyLinks(HELD, 100)
    first, second = (
        Page("browse", (("dataset", "coco"),)),
        Page("browse", (("after", "60"), ("dataset", "coco"))),
    )
    assert links.page("browse", dataset="coco") == "pages/browse-coco.html"
    written(links, first)
    assert links.page("browse", dataset="coco", before=1) is None
    assert links.page("browse", dataset="a/B", after=60) is None
    assert links.page("browse", dataset="coco", after=60) == "../pages/browse-coco-2.html"
    written(links, second)
    assert links.page("browse", dataset="coco", before=61) == "../pages/browse-coco.html"
    assert links.page("browse", dataset="coco", after=120) is None


def test_pairs_bring_samples_from_beyond_the_bound() -> None:
    """A page of pairs shows both, up to as many more as the bound; a sample's neighbours do not lead on."""
    links = CopyLinks(HELD, 2)
    links.page("alike")
    written(links, Page("alike"))
    assert [
        links.page("sample", dataset="coco", number=number) is not None for number in (150, 151, 152, 150)
    ] == [
        True,
        True,
        False,
        True,
    ]
    written(links, Page("sample", (("dataset", "coco"), ("number", "151"))))
    assert links.page("sample", dataset="coco", number=152) is None
    assert links.page("sample", dataset="coco", number=150) is not None
    assert links.samples_of("coco") == 2


def test_a_picture_is_handed_out_once() -> None:
    """However often a picture is shown, it is drawn once, and never larger than the copy's own bound."""
    links = CopyLinks(HELD, 60)
    assert links.picture("coco", 7, 256) == "pictures/coco-7-256.jpg"
    assert links.picture("coco", 7, 256) == "pictures/coco-7-256.jpg"
    assert links.picture("coco", 7, 2048) == "pictures/coco-7-768.jpg"
    assert [one for one, _ in links.take_pictures()] == [Picture("coco", 7, 256), Picture("coco", 7, 768)]
    assert links.take_pictures() == []
    links.renamed(Picture("coco", 7, 256), "pictures/coco-7-256.svg")
    assert links.picture("coco", 7, 256) == "pictures/coco-7-256.svg"


@given(st.lists(st.text(max_size=40), unique=True, max_size=8))
def test_every_dataset_gets_files_of_its_own(names: list[str]) -> None:
    """Whatever datasets are called, their files have plain names, all different also where case does not count."""
    links = CopyLinks(dict.fromkeys(names, 3), 3)
    addresses = [links.page("sample", dataset=name, number=0) or "" for name in names]
    assert len({address.lower() for address in addresses}) == len(names)
    for address in addresses:
        folder, _, file = address.partition("/")
        assert folder == "pages"
        assert file.isascii()
        assert "/" not in file
        assert not file.startswith(".")


@given(st.text(max_size=80))
def test_a_slug_is_plain(text: str) -> None:
    """Small letters, digits, dash and underscore; never empty for a text that is not."""
    made = slug(text)
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    assert made or not text


Step = tuple[str, dict[str, object]]


def steps() -> st.SearchStrategy[list[Step]]:
    names = st.sampled_from(
        ["home", "browse", "stats", "alike", "leaks", "shards", "left-out", "help", "search"]
    )
    datasets = st.sampled_from(["", "coco", "a/B", "nobody"])
    numbers = st.integers(0, 300)
    lists = st.tuples(
        names, st.fixed_dictionaries({}, optional={"dataset": datasets, "after": numbers, "before": numbers})
    )
    samples = st.tuples(st.just("sample"), st.fixed_dictionaries({"dataset": datasets, "number": numbers}))
    return st.lists(lists | samples, max_size=6)


@given(st.lists(steps(), max_size=40), st.integers(1, 130))
def test_whatever_pages_ask_for_every_address_is_written(asked: list[list[Step]], samples: int) -> None:
    """The walk ends, is bounded, and every address that was ever given is the file of a page that was written."""
    links = CopyLinks(HELD, samples)
    given_out: set[str] = set()
    files: set[str] = set()
    for place, (_, file) in enumerate(links.to_write()):
        files.add(file)
        for name, parameters in asked[place % len(asked)] if asked else []:
            address = links.page(name, **parameters)
            if address is not None:
                given_out.add(posixpath.normpath(posixpath.join(posixpath.dirname(file), address)))
    assert given_out <= files
    assert sum("sample" in file for file in files) <= 3 * samples
    assert all(links.samples_of(name) <= count + samples for name, count in HELD.items())
