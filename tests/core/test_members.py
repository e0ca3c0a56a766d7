"""core/members.py: which names may be used, and where a name lies."""

from __future__ import annotations

import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.members import NAME_LIMIT_BYTES, Member, Refusal, basename, inside, refuse_name

plain_names = st.lists(
    st.text(string.ascii_letters + string.digits + "-_ .é漢", min_size=1, max_size=9).filter(
        lambda part: part != ".."
    ),
    min_size=1,
    max_size=5,
).map("/".join)


@given(plain_names)
def test_ordinary_names_may_be_used(name: str) -> None:
    """A relative name of ordinary letters in any script is accepted."""
    assert refuse_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "//x",
        "..",
        "../x",
        "a/../b",
        "a/..",
        "a\\..\\b",
        "\\\\host\\share",
        "C:/x",
        "c:x",
        "a\0.jpg",
        "a\n.jpg",
        "\x1b[2J.jpg",
        "a\x7f.jpg",
        "\ud800.jpg",
        "a" * (NAME_LIMIT_BYTES + 1),
        "漢" * (NAME_LIMIT_BYTES // 3 + 1),
        "a" * 4093 + "é" * 2,
        "😀" * 1024 + "a",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    """Absolute names, ways upwards, drives, control characters and endless names are refused."""
    assert refuse_name(name) == "unsafe_name"


@pytest.mark.parametrize(
    "name", ["...", "a..b", "..a/b", "ab:c", "-rf", "CON", "a" * 4096, "a.", "a" * 4094 + "é", "😀" * 1024]
)
def test_odd_but_harmless_names_are_kept(name: str) -> None:
    """What merely looks like one of the refused forms is not refused."""
    assert refuse_name(name) is None


@given(plain_names, plain_names)
def test_inside_undoes_joining(folder: str, name: str) -> None:
    """A name below a folder is found there again, with and without a slash after the folder."""
    folder = folder.lstrip("./") or "f"
    assert inside(f"{folder}/{name}", folder) == name
    assert inside(f"./{folder}/{name}", folder + "/") == name


def test_inside_wants_the_whole_component() -> None:
    """A folder whose name merely begins alike does not count."""
    assert inside("val2017x/1.jpg", "val2017") is None
    assert inside("./1.jpg", "") == "1.jpg"
    assert inside("val2017/1.jpg", "/val2017") is None


@given(plain_names)
def test_basename_is_the_last_component(name: str) -> None:
    """The base name is what stands behind the last slash."""
    assert basename(name) == name.split("/")[-1]


def test_values_cross_process_borders() -> None:
    """Members and refusals survive pickling, as the runners need it."""
    for value in (Member("a.jpg", "raw", 512, 3, 3), Refusal("b", "sparse")):
        assert pickle.loads(pickle.dumps(value)) == value
    assert (Member("a.jpg", "raw", 512, 3, 3).crc32, Refusal("b", "sparse").detail) == (None, "")
