"""ui/words.py: English and Chinese say the same, and nothing from a stranger is obeyed by a terminal."""

from __future__ import annotations

import re
import string
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import g3m.ui
from g3m.core.errors import NoSpace, PartialError
from g3m.ui.words import WORDS, Speaker, language, printable

SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in Path(g3m.ui.__file__).parent.glob("*.py"))


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_have_the_sentence_with_the_same_gaps(key: str) -> None:
    """No sentence is missing in one language, or leaves out a value that the other shows."""
    english, chinese = WORDS[key]
    assert english
    assert chinese
    assert fields(english) == fields(chinese)
    assert english.isascii() or set(english) - set(string.printable) <= {"…"}


@pytest.mark.parametrize(
    "key", [key for key, (english, _) in WORDS.items() if len(re.sub(r"\W|\{\w+\}", "", english)) > 4]
)
def test_chinese_is_chinese(key: str) -> None:
    """A Chinese sentence has Chinese characters, and not the English words again."""
    chinese = WORDS[key][1]
    assert any("CJK" in unicodedata.name(letter, "") for letter in chinese) or fields(chinese)
    assert chinese != WORDS[key][0] or chinese.startswith("{")


def test_every_sentence_is_used() -> None:
    """A sentence that no module says is not kept in two languages for nothing."""
    quoted = set(re.findall(r"""["']([a-z-]+)["'](?!: \()""", SOURCES))
    made_of_parts = ("state-", "doctor-token-", "finding-", "class-", "packing-", "chart-")
    unused = [key for key in WORDS if key not in quoted and not key.startswith(made_of_parts)]
    assert unused == []


def test_every_sentence_that_is_said_exists() -> None:
    """No module says a sentence that is not in the table."""
    said = re.findall(r'\bsay\(\s*"([\w-]+)"', SOURCES)
    assert len(said) > 10
    assert set(said) <= set(WORDS)


@given(st.text())
def test_printable_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    """Whatever comes in: no escape, no control character, no turning of the writing's direction."""
    shown = printable(text)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        obeyed = unicodedata.category(before) == "Cc" and before not in "\t\n"
        turning = "\u202a" <= before <= "\u202e" or "\u2066" <= before <= "\u2069"
        assert after == ("?" if obeyed or turning else before)


@pytest.mark.parametrize(
    ("setting", "variables", "expected"),
    [
        ("", {}, "en"),
        ("zh", {"LANG": "en_US.UTF-8"}, "zh"),
        ("en", {"LANG": "zh_CN.UTF-8"}, "en"),
        ("", {"LANG": "zh_CN.UTF-8"}, "zh"),
        ("", {"LANG": "ZH_tw"}, "zh"),
        ("", {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ("", {"LC_ALL": "", "LC_MESSAGES": "zh_CN", "LANG": "de_DE"}, "zh"),
        ("", {"LANG": "C.UTF-8"}, "en"),
    ],
)
def test_language(setting: str, variables: dict[str, str], expected: str) -> None:
    """The setting decides, then the locale by its own order; other languages are spoken to in English."""
    assert language(setting, variables) == expected


@pytest.mark.parametrize(
    ("lang", "head", "hint"), [("en", "error G3M-E610", "Try: "), ("zh", "错误 G3M-E610", "建议: ")]
)
def test_an_error_has_code_message_and_hint(lang: str, head: str, hint: str) -> None:
    """Three parts: the code with a title, every line of the message indented, what to do."""
    lines = Speaker(lang).error(NoSpace("/data: full\nand more\x1b[2J")).splitlines()
    assert lines[0].startswith(f"{head}: ")
    assert lines[1:3] == ["  /data: full", "  and more?[2J"]
    assert lines[3].startswith(hint)
    assert len(lines) == 4


def test_a_hint_of_its_own_wins() -> None:
    """Who raises an error may say what to do better than the class."""
    error = PartialError("x", hint=("do this", "这样做"))
    assert Speaker("en").error(error).endswith("Try: do this")
    assert Speaker("zh").error(error).endswith("建议: 这样做")


def test_values_with_braces_are_only_values() -> None:
    """A name with braces in it is shown and not understood."""
    assert Speaker("en").say("recipe-good", path="{path.__class__}") == "{path.__class__}: a good recipe"
