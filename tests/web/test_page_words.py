"""The words of the pages: both languages are complete, and no key is missing or forgotten."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from g3m.core.catalog import FLAGS, NUMBERS
from g3m.core.outcomes import REASONS as OUTCOMES
from g3m.core.samples import REASONS
from g3m.ui.web import pages
from g3m.ui.web.drawing import TEMPLATES as FOLDER
from g3m.ui.web.words import PAGES, SPELLED, Voice, spell

TEMPLATES = {path.name: path.read_text() for path in FOLDER.glob("*.html")}
CODE = Path(pages.__file__).read_text()
CHINESE = re.compile("[\u4e00-\u9fff]")
SAME = {"json"}
ALL = "".join(TEMPLATES.values()) + CODE
FAMILIES = tuple(set(re.findall(r'say\("([a-z-]+-)" ~', ALL)))


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", sorted(PAGES))
def test_both_languages_say_it(key: str) -> None:
    """Neither column is empty, the second is Chinese, the first is not, and both name the same values."""
    english, chinese = PAGES[key]
    assert english.strip() and chinese.strip()
    assert not CHINESE.search(english)
    assert key in SAME or CHINESE.search(chinese) or not re.search("[a-z]", re.sub(r"\{\w+\}", "", chinese))
    assert not re.search("[\u2018\u2019]|can't|!|\bwe\b", english)
    # A source stands behind the words in Chinese, too, but is written by the template.
    assert _fields(english) == _fields(chinese) or key == "as-stated"


@pytest.mark.parametrize("key", sorted(PAGES))
def test_every_key_is_used(key: str) -> None:
    """A sentence that nobody says is taken out."""
    assert (
        f'"{key}"' in ALL
        or f"say('{key}'" in ALL
        or any(key.startswith(family) for family in FAMILIES)
        or key.startswith("problem-")
    )


def test_every_key_that_is_said_exists() -> None:
    """A template names no sentence that is not there."""
    said = set(re.findall(r'say\("([a-z-]+[a-z])"', ALL)) | set(
        re.findall(r'say\("[a-z-]+" if .+? else "([a-z-]+)"', ALL)
    )
    assert said - set(PAGES) == set()
    assert {"title-help", "no-caption", "skip"} <= said


@pytest.mark.parametrize(
    ("family", "members"),
    [
        ("title-", ["home", "browse", "search", "sample", "stats", "alike", "leaks", "shards", "left-out", "help"]),
        ("nav-", ["home", "browse", "stats", "alike", "leaks", "downloads", "shards", "left-out"]),
        ("state-", ["done", "part", "none"]),
        ("chart-", [*NUMBERS, "format", "host", "flag", "word"]),
        ("filter-", ["query", "shard", *NUMBERS, "format", "host", "flag", "seed"]),
        ("problem-", ["not-here", "gone", "needs-catalog", "bad-view", "failed", "no-page", "no-method", "broken", "rewriting"]),
    ],
)  # fmt: skip
def test_families_of_keys_are_complete(family: str, members: list[str]) -> None:
    """A key that is put together exists for everything that it can be put together from."""
    assert {family + member for member in members} <= set(PAGES)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("code", sorted({*FLAGS, *REASONS, *OUTCOMES, "http_404", "http_599", "dropped"}))
def test_every_reason_means_something(code: str, lang: str) -> None:
    """No flag and no reason is shown without what it means."""
    assert bool(CHINESE.search(Voice(lang).meaning(code))) == (lang == "zh") and Voice(lang).meaning(code)


def test_every_flag_has_a_short_name_in_both_languages() -> None:
    """Chips are short."""
    assert set(FLAGS) <= set(SPELLED)
    assert all(len(name) <= 24 for both in SPELLED.values() for name in both)
    assert spell("grayscale", "zh") == "灰度" and spell("made_up", "zh") == "made_up"
