"""Links: one address for each thing, and none that a name could break out of."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.browse import View, parse_view
from g3m.ui.web.links import PATHS, STATIC, ServerLinks, digest_of

NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


@given(NAMES, st.integers(0, 10**9))
def test_a_sample_is_found_again_whatever_its_dataset_is_called(dataset: str, number: int) -> None:
    """Slashes, quotes, question marks and dots in a name stay in the name."""
    address = urlsplit(ServerLinks("/g3m").page("sample", dataset=dataset, number=number) or "")
    assert not address.netloc and not address.query and not address.fragment
    assert unquote(address.path) == f"/g3m/sample/{dataset}/{number}"
    assert not set(address.path) & set("\"'<> ")


@given(st.dictionaries(st.sampled_from(["q", "dataset", "host"]), NAMES))
def test_parameters_come_back_as_they_were(parameters: dict[str, str]) -> None:
    """An address holds what it was given."""
    address = ServerLinks().page("browse", **parameters) or ""
    found = parse_qs(urlsplit(address).query, keep_blank_values=True)
    assert found == {name: [value] for name, value in parameters.items()}


def test_what_is_empty_is_not_in_the_address() -> None:
    """The shortest address; a zero is something."""
    assert ServerLinks().page("browse", dataset="", after=None, seed=0) == "/browse?seed=0"


def test_a_view_comes_back_from_its_link() -> None:
    """The address bar holds the state."""
    view = View(dataset="a/b", query='"red bus" & more', seed=0, flag="bomb")
    address = ServerLinks().page("search", **view.parameters()) or ""
    read = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}
    assert parse_view(read) == view


def test_a_picture_is_asked_for_anew_when_its_dataset_changed() -> None:
    """The version of the dataset is in the address, so that a browser may keep the picture."""
    version = {"coco": "one"}
    links = ServerLinks("", lambda dataset: version[dataset])
    before = links.picture("coco", 7, 256)
    version["coco"] = "two"
    assert before == "/picture/coco/7?side=256&v=one"
    assert links.picture("coco", 7, 256) == "/picture/coco/7?side=256&v=two"


def test_names_that_are_no_text_break_no_page() -> None:
    """A folder whose name is no UTF-8 has an address, if not one that finds it."""
    assert ServerLinks().page("sample", dataset="a\udce9", number=1) == "/sample/a%3F/1"
    assert ServerLinks().page("browse", dataset="a\ud800") == "/browse?dataset=a%3F"


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.iterdir()))
def test_every_file_has_an_address_of_its_content(name: str) -> None:
    """Another content has another address."""
    assert ServerLinks("/p").static(name) == f"/p/static/{name}?v={digest_of(name)}"


def test_every_page_has_a_path_of_its_own() -> None:
    """No two pages share an address, and all begin at the root."""
    assert len(set(PATHS.values())) == len(PATHS)
    assert all(ServerLinks("/x").page(name) == f"/x{path}" for name, path in PATHS.items())
