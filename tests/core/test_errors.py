"""core/errors.py: the tree of errors, its exit codes, and its way through a process border."""

from __future__ import annotations

import copy
import errno
import pickle
import re

import pytest

from g3m.core import errors
from g3m.core.errors import (
    Advice,
    Changed,
    G3MError,
    Interrupted,
    NoSpace,
    NotWritable,
    PartialError,
    StorageError,
    Throttled,
    all_errors,
    storage_error,
)

TREE = tuple(kind for kind in all_errors() if kind.__module__ == errors.__name__)
HINT = ("do this", "这样做")


def drawn() -> dict[str, tuple[str, int]]:
    """Class name to (parent, exit code) as the module's docstring draws them."""
    found: dict[str, tuple[str, int]] = {}
    for line in (errors.__doc__ or "").splitlines():
        if root := re.fullmatch(r" *(\w+) \((\d+)\)", line):
            found[root[1]] = ("Exception", int(root[2]))
        elif branch := re.fullmatch(r" *[├└]─ (\w+) \((\d+)\) +(.*)", line):
            found[branch[1]] = ("G3MError", int(branch[2]))
            leaves = [re.fullmatch(r"([A-Z]\w+)(?: \((\d+)\))?", leaf) for leaf in branch[3].split(" · ")]
            if all(leaves):  # otherwise the rest of the line is prose
                found |= {leaf[1]: (branch[1], int(leaf[2] or branch[2])) for leaf in leaves if leaf}
    return found


def sample(kind: type[G3MError]) -> G3MError:
    if kind is Throttled:
        return Throttled("busy", after_s=7.5, hint=HINT)
    if kind is PartialError:
        return PartialError("two failed", failed={"fetch/a": "gone"}, hint=HINT)
    return kind("it broke at a.zip", hint=HINT)


def test_the_drawing_shows_every_class_under_its_parent() -> None:
    """The tree in the module's docstring names each class once, below the class it derives from."""
    assert {name: parent for name, (parent, _) in drawn().items()} == {
        kind.__name__: kind.__bases__[0].__name__ for kind in TREE
    }


@pytest.mark.parametrize("kind", TREE)
def test_the_drawing_tells_each_exit_code(kind: type[G3MError]) -> None:
    """The exit code in the docstring (a leaf without one has its branch's) is the code of the class."""
    assert drawn()[kind.__name__][1] == kind.exit_code


def test_all_errors_begins_with_the_root_and_names_each_class_once() -> None:
    """The list that the reference page is made from is whole and has no repeats."""
    assert all_errors()[0] is G3MError
    assert len(set(all_errors())) == len(all_errors())
    assert {kind.__name__ for kind in TREE} == {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, G3MError)
    }


@pytest.mark.parametrize("kind", TREE)
def test_every_class_speaks_two_languages(kind: type[G3MError]) -> None:
    """Each class has a title of its own and a hint, both in English and in Chinese."""
    assert "title" in vars(kind)
    for english, chinese in (kind.title, kind.default_hint):
        assert english.isascii()
        assert english.strip()
        assert re.search("[\u4e00-\u9fff]", chinese)


@pytest.mark.parametrize("kind", TREE)
def test_every_class_has_its_code_and_a_valid_exit_code(kind: type[G3MError]) -> None:
    """Codes have one form and are not shared; the exit code fits into a byte and never says success."""
    assert re.fullmatch(r"G3M-E\d{3}", kind.code)
    assert [other for other in TREE if other.code == kind.code] == [kind]
    assert 1 <= kind.exit_code <= 130
    assert isinstance(kind.advice, Advice)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", TREE)
def test_every_class_crosses_a_process_border(kind: type[G3MError], protocol: int) -> None:
    """Pickling keeps the class, the message and every attribute, also those of a constructor's keywords."""
    error = sample(kind)
    error.__dict__["task"] = "fetch/a"
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is kind
    assert (str(back), back.args) == (str(error), error.args)
    assert vars(back) == vars(error)


@pytest.mark.parametrize("kind", TREE)
def test_a_copy_is_equal_and_apart(kind: type[G3MError]) -> None:
    """A copied error holds the same attributes and can be changed without changing the first."""
    error = sample(kind)
    twin = copy.copy(error)
    twin.message = "other"
    assert error.message == str(error) != "other"
    assert vars(twin) == {**vars(error), "message": "other"}


def test_own_hints_win_over_the_class() -> None:
    """A hint given at the place of the error replaces that of the class, and none is no hint lost."""
    assert G3MError("x", hint=HINT).hint == HINT
    assert G3MError("x").hint == G3MError.default_hint
    assert NoSpace("x").hint == NoSpace.default_hint != StorageError.default_hint


def test_keywords_have_harmless_defaults() -> None:
    """Without its keyword a throttled answer asks for no wait, and a partial error names no task."""
    assert Throttled("busy").after_s == 0.0
    first, second = PartialError("x"), PartialError("y")
    first.failed["a"] = "b"
    assert second.failed == {}


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.EFBIG, NoSpace),
        (errno.EACCES, NotWritable),
        (errno.EPERM, NotWritable),
        (errno.EROFS, NotWritable),
        (errno.EIO, StorageError),
        (errno.ENOENT, StorageError),
    ],
)
def test_system_errors_find_their_class(number: int, kind: type[StorageError]) -> None:
    """A full disk, a closed folder and anything else are told apart, with the path and the system's words."""
    found = storage_error(OSError(number, "what the system said"), "/data/a.tar")
    assert type(found) is kind
    assert str(found) == "/data/a.tar: what the system said"


def test_a_system_error_without_number_keeps_its_words() -> None:
    """An OSError that has only a text is still explained."""
    assert str(storage_error(OSError("odd"), "/d")) == "/d: odd"


def test_advice_says_what_may_help() -> None:
    """Breaks may be resumed, busy hosts asked later, wrong files taken elsewhere, and wrong commands never."""
    assert errors.Unreachable.advice is errors.Truncated.advice is Interrupted.advice is Advice.RESUME
    assert Throttled.advice is NoSpace.advice is Advice.LATER
    assert Changed.advice is errors.Missing.advice is errors.DigestMismatch.advice is Advice.OTHER_PLACE
    assert errors.Refused.advice is Advice.OTHER_PLACE
    assert errors.RecipeError.advice is errors.BadArchive.advice is Advice.NEVER
