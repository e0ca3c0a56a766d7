"""adapters/robots.py: the rules of a robots.txt, as RFC 9309 reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters.robots import MOST_CHARACTERS, MOST_RULES, Robots

HOST = "https://example.com"


def allows(rules: str, path: str) -> bool:
    return Robots("User-agent: *\n" + rules).allows(HOST + path)


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("", "/a.jpg", True),
        ("Disallow:", "/a.jpg", True),
        ("Disallow: /", "/a.jpg", False),
        ("Disallow: /", "", False),
        ("Disallow: /", "/robots.txt", True),
        ("Disallow: /img", "/img/a.jpg", False),
        ("Disallow: /img", "/images/a.jpg", True),
        ("Disallow: /img/", "/img", True),
        ("disallow : /img # pictures", "/img/a.jpg", False),
        ("Disallow: /\nAllow: /img/", "/img/a.jpg", True),
        ("Allow: /\nDisallow: /img/", "/img/a.jpg", False),
        ("Disallow: /img\nAllow: /img", "/img/a.jpg", True),
        ("Disallow: /*.jpg$", "/x/a.jpg", False),
        ("Disallow: /*.jpg$", "/x/a.jpg?size=1", True),
        ("Disallow: /*.jpg", "/x/a.jpg?size=1", False),
        ("Disallow: /a*b*c", "/a/b/c", False),
        ("Disallow: /a*b*c", "/a/c/b", True),
        ("Disallow: /a*a$", "/a", True),
        ("Disallow: /a*ba$", "/aba", False),
        ("Disallow: /a*b*ab$", "/a-ab", True),
        ("Disallow: *", "/a", False),
        ("Disallow: /*?", "/a?x=1", False),
        ("Disallow: /*?", "/a", True),
        ("Disallow: /a$", "/a", False),
        ("Disallow: /a$", "/ab", True),
        ("Disallow: /größe", "/gr%C3%B6%C3%9Fe/a", False),
        ("Disallow: /gr%c3%b6%C3%9Fe", "/gr%C3%B6%C3%9Fe/a", False),
        ("Disallow: /%7Ejoe", "/~joe/a.jpg", False),
        ("Disallow: /a%20b", "/a%20b", False),
        ("Crawl-delay: 10\nSitemap: https://example.com/s.xml", "/a", True),
    ],
)
def test_rules(rules: str, path: str, allowed: bool) -> None:
    """The longest rule that fits a path decides, with stars, ends and percent signs as the RFC reads them."""
    assert allows(rules, path) is allowed


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("User-agent: g3m\nDisallow: /\n\nUser-agent: *\nAllow: /", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: G3M/1.0\nAllow: /", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: g3m\nDisallow:", True),
        ("User-agent: g\nDisallow: /", True),
        ("User-agent: g3mbot\nDisallow: /", True),
        ("User-agent: otherbot\nUser-agent: g3m\nDisallow: /", False),
        ("User-agent: otherbot\nUser-agent: *\nDisallow: /", False),
        ("User-agent: *\nDisallow: /b\n\nUser-agent: *\nDisallow: /a", False),
        ("User-agent: otherbot\nDisallow: /\nUser-agent: *\nAllow: /", True),
        ("Disallow: /", True),
        ("<html>Not found</html>", True),
        ("\ufeffUser-agent: *\r\nDisallow: /\r\n", False),
        ("User-agent: *\rDisallow: /", False),
        ("User-agent: *\n\n\nDisallow: /", False),
    ],
)
def test_groups(text: str, allowed: bool) -> None:
    """Our own group holds alone where there is one, groups of one agent hold together, and others' do not."""
    assert Robots(text).allows(f"{HOST}/a.jpg") is allowed


@given(st.text(), st.text(alphabet="abc/*$?%é."))
def test_any_text(text: str, path: str) -> None:
    """Whatever a host sends as robots.txt, there is an answer."""
    assert Robots(f"User-agent: *\nDisallow: /{path}\n{text}").allows(f"{HOST}/a") in (True, False)


def test_hostile_patterns() -> None:
    """Rules made to be slow come to an end within the time of a test, and what is beyond the limit of the file is not read."""
    stars = "Disallow: /" + "a*" * 200 + "b\n"
    assert allows(stars * 200, "/" + "a" * 8000)
    assert allows("#" * MOST_CHARACTERS + "\nDisallow: /", "/a")


def test_no_more_rules_are_read_than_have_a_use() -> None:
    """Half a megabyte of short lines would cost each row of the host a hundredth of a second."""
    text = "user-agent: *\n" + "".join(f"disallow: /n{number}-\n" for number in range(30_000))
    robots = Robots(text)
    assert not robots.allows(f"https://a.example/n{MOST_RULES - 1}-a.jpg")
    assert robots.allows(f"https://a.example/n{MOST_RULES}-a.jpg")
