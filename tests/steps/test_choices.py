"""steps/choices.py: what was chosen before g3m is remembered, also over several choices and a kill."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from g3m.core.errors import StorageError
from g3m.steps.choices import Choice, Choices

HERE = "127.0.0.1:9090"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "g3m" / "proxy.json"


def test_the_first_former_choice_is_kept(path: Path) -> None:
    """Several choices in a row are one change: what stood before the first of them is put back."""
    choices = Choices(path)
    choices.note(HERE, "G", now="a", chosen="b")
    choices.note(HERE, "G", now="b", chosen="c")
    assert Choices(path).of(HERE) == (Choice(HERE, "G", "a", "c"),)


def test_somebody_elses_choice_becomes_the_former_one(path: Path) -> None:
    """Where the user chose anew with another program, that is what g3m changed."""
    choices = Choices(path)
    choices.note(HERE, "G", now="a", chosen="b")
    choices.note(HERE, "G", now="x", chosen="c")
    assert choices.of(HERE) == (Choice(HERE, "G", "x", "c"),)


def test_groups_and_controllers_are_kept_apart(path: Path) -> None:
    """Each has a former choice of its own; forgetting the last one removes the file."""
    choices = Choices(path)
    choices.note(HERE, "G", now="a", chosen="b")
    choices.note(HERE, "H", now="a", chosen="b")
    choices.note("unix:/x.sock", "G", now="z", chosen="y")
    assert [choice.group for choice in choices.of(HERE)] == ["G", "H"]
    choices.forget(choices.of(HERE)[0])
    assert choices.of(HERE) == (Choice(HERE, "H", "a", "b"),)
    choices.keep(HERE, [])
    assert choices.of(HERE) == ()
    assert choices.of("unix:/x.sock") == (Choice("unix:/x.sock", "G", "z", "y"),)
    choices.forget(choices.of("unix:/x.sock")[0])
    assert not path.exists()


def test_only_its_owner_reads_it(path: Path) -> None:
    """The file has mode 0600 in a folder of mode 0700, whatever the mask is."""
    Choices(path).note(HERE, "香港 🚀", now="a", chosen="b")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert Choices(path).of(HERE)[0].group == "香港 🚀"


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", '{"format": 2, "choices": []}', '{"format": 1}', '{"format": 1, "choices": [{}]}'],
)
def test_a_broken_file_counts_as_none(path: Path, text: str) -> None:
    """It is neither an error nor in the way of the next choice."""
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert Choices(path).of(HERE) == ()
    Choices(path).note(HERE, "G", now="a", chosen="b")
    assert len(Choices(path).of(HERE)) == 1


def test_where_nothing_can_be_written(path: Path) -> None:
    """A choice that cannot be remembered is an error before anything is chosen."""
    path.parent.parent.mkdir()
    path.parent.write_text("a file")
    with pytest.raises(StorageError):
        Choices(path).note(HERE, "G", now="a", chosen="b")
