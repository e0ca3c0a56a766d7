"""docs/reliability.md: every promise stands there once, and the tests that it names exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
PROMISES = [f"P{number}" for number in range(1, 19)]

_HEADING = re.compile(r"## (P\d+)\. \S.*")
_BULLET = re.compile(r"- `(tests/[\w/]+\.py)(?:::(\w+)(?:\[[^`]*\])?)?`")
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
_NO_TEST = "No test proves this yet"


def sections(page: str) -> list[tuple[str, str]]:
    """Each promise's number and what stands below its heading; other sections are not looked at."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    found = [(_HEADING.match(part), part) for part in parts]
    return [(heading[1], part) for heading, part in found if heading]


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the tests in a file that pytest would find, read and not run."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(
        item.name
        for item in body
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name.startswith("test_")
    )


def problems(page: str) -> list[str]:
    """What is wrong with the page, in words."""
    found = []
    numbers = [number for number, _ in sections(page)]
    if numbers != PROMISES:
        found.append(f"the promises are {numbers}")
    for number, text in sections(page):
        bullets = [line for line in text.splitlines() if line.startswith("- ")]
        if not bullets and _NO_TEST not in text:
            found.append(f"{number} has no test and does not say so")
        if not re.search(r"^(Not (kept|proven)|No test proves)", text, flags=re.MULTILINE):
            found.append(f"{number} does not say what is not kept or not proven")
        for line in bullets:
            named = _BULLET.fullmatch(line)
            path = ROOT / named[1] if named else None
            if named is None or path is None or not path.is_file() or not _has(path, named[2]):
                found.append(f"{number}: no such test: {line}")
        if len(set(bullets)) < len(bullets):
            found.append(f"{number} names a test twice")
    return found + [f"no such file: {link}" for link in _LINK.findall(page) if not _is_there(link)]


def _has(path: Path, test: str | None) -> bool:
    return bool(names_in(path)) if test is None else test in names_in(path)


def _is_there(link: str) -> bool:
    return (PAGE.parent / link).exists()


def test_every_promise_stands_once_and_its_tests_exist() -> None:
    """P1 to P18 in order; each has tests that exist, or says plainly that none does; links lead to files."""
    assert problems(PAGE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("## P3. ", "### P3. "),
        ("## P3. ", "## P2. "),
        ("## P3. ", "## Three. "),
        ("::test_damage_is_named`", "::test_damage_is_nameed`"),
        ("tests/whole/test_verify.py::", "tests/whole/test_verifie.py::"),
        ("- `tests/whole/test_verify.py::test_damage_is_named`", "- test_damage_is_named"),
        ("(../SECURITY.md)", "(SECURITY.md)"),
    ],
)
def test_a_fault_of_the_page_is_found(old: str, new: str) -> None:
    """A promise that is gone or there twice, a mistyped test and a dead link are each told."""
    page = PAGE.read_text(encoding="utf-8")
    assert old in page
    assert problems(page.replace(old, new, 1))


def test_a_promise_without_tests_must_say_so() -> None:
    """A section that lost its tests is told, unless it says in words that there is none."""
    page = re.sub(r"^- .*\n", "", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len([line for line in problems(page) if "has no test" in line]) == len(PROMISES)
    honest = re.sub(r"^Proven by:$", f"{_NO_TEST}.", page, flags=re.MULTILINE)
    assert problems(honest) == []


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "SECURITY.md"])
def test_the_page_is_linked(name: str) -> None:
    """Whoever reads about g3m, or about its security, finds the promises."""
    assert "(docs/reliability.md)" in (ROOT / name).read_text(encoding="utf-8")
