"""A dataset by somebody who wishes the reader ill, looked at in a real browser: nothing runs, nothing breaks, all is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Request, expect
from tests.web.conftest import HOSTILE, Bad, Root, View, Visit, Visitor
from tests.web.crawl import Client
from tests.web.hostile import LONG_BYTES, MARK

NAME = quote(HOSTILE, safe="")


@pytest.fixture(scope="module")
def client(hostile_view: View) -> Client:
    """Somebody without a browser."""
    return Client(hostile_view.address)


@pytest.fixture(scope="session")
def place(hostile_root: tuple[Root, list[Bad]]) -> Callable[[str], int]:
    """The number of a sample by its name."""
    names = [one.name for one in hostile_root[1]]
    return names.index


def unharmed(visitor: Visitor) -> None:
    """No script of the dataset has run, none was stopped by the policy alone, and nothing was asked elsewhere."""
    assert visitor.page.evaluate(f"window.{MARK}") is None
    assert visitor.violations() == []
    assert not [
        one
        for one in visitor.requests
        if MARK.lower() in one.lower() and "/browse" not in one and "/search" not in one
    ]


def test_the_dataset_is_browsed(hostile_view: View, visit: Visit, shots: Path) -> None:
    """The grid has every sample, in order; long and strange captions leave it a grid."""
    visitor = visit(hostile_view)
    visitor.page.locator(".dataset h2 a").click()
    visitor.page.wait_for_url("**/browse?dataset=*")
    visitor.everything()
    visitor.settle()
    visitor.page.screenshot(path=shots / "hostile-grid.png", full_page=True)
    unharmed(visitor)
    assert visitor.page.locator("ul.grid > li").count() == 40
    heights = visitor.page.evaluate(
        "Array.from(document.querySelectorAll('ul.grid > li')).map(one => one.offsetHeight)"
    )
    assert max(heights) < 900
    over = visitor.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert over == 0


def test_every_sample_has_its_page(
    hostile_view: View, hostile_root: tuple[Root, list[Bad]], visit: Visit, shots: Path
) -> None:
    """Each page is answered, runs nothing, stays in its width, and draws the picture or says what it is instead."""
    visitor = visit(hostile_view, width=1000)
    page = visitor.page
    kinds: dict[str, str] = {}
    page.on("response", lambda one: kinds.update({one.url: one.headers.get("content-type", "")}))
    for number, one in enumerate(hostile_root[1]):
        visitor.go(f"/sample/{NAME}/{number}")
        visitor.everything()
        unharmed(visitor)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over == 0, one.name
        source = page.locator("figure img").get_attribute("src") or ""
        kind = kinds[hostile_view.origin + source]
        assert kind == ("image/jpeg" if one.drawable else "image/svg+xml"), one.name
        assert page.evaluate("document.querySelector('figure img').naturalWidth") > 0, one.name
        page.screenshot(path=shots / f"hostile-{one.name}.png")
    assert {kind.partition(";")[0] for url, kind in kinds.items() if "/picture/" in url} <= {
        "image/jpeg",
        "image/svg+xml",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("script", f"<script>window.{MARK}=1</script>"),
        ("image", "onerror="),
        ("closing", "{{ 7*7 }} {% raw %}"),
        ("attribute", "&quot;&#39;&amp;"),
        ("bidi", "U+202E"),
        ("null", "U+0000"),
        ("chinese", "一只红色的猫"),
        ("emoji", "family 👨‍👩‍👧‍👦"),
        ("fts", '" OR 1=1 -- NEAR( * ^ col:x'),
        ("key-script", "<script>"),
        ("key-bidi", "U+2066"),
        ("slashes", "a/b//c/d e?x=1#y%2e%2e%00&z"),
        ("quotes", "quo\"te's & <b>"),
    ],
)
def test_texts_are_shown_as_they_are(
    hostile_view: View, visit: Visit, place: Callable[[str], int], name: str, shown: str
) -> None:
    """What was written is what is read: no markup is obeyed, no letter is hidden, nothing is turned around."""
    visitor = visit(hostile_view)
    visitor.go(f"/sample/{NAME}/{place(name)}")
    expect(visitor.page.locator("main")).to_contain_text(shown)
    unharmed(visitor)


def test_what_turns_around_stays_in_its_place(
    hostile_view: View, visit: Visit, place: Callable[[str], int]
) -> None:
    """A caption that overrides the direction of writing turns nothing outside of it, and nothing within."""
    visitor = visit(hostile_view)
    page = visitor.go(f"/sample/{NAME}/{place('bidi')}")
    text = page.locator(".said").inner_text()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f]", text)
    assert "gpj.exe" in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page.title())


def test_a_long_caption_is_cut_in_the_list_and_told_of(client: Client, place: Callable[[str], int]) -> None:
    """100 kB of caption do not stand in a grid; the sample's page has the rest, or says how much of it."""
    grid = client.get(f"/browse?dataset={NAME}")
    assert len(grid.body) < 400_000
    whole = client.get(f"/sample/{NAME}/{place('long')}").body.decode("utf-8")
    assert whole.count("word ") > LONG_BYTES // 5 * 0.9
    assert len(whole) < 3 * LONG_BYTES


def test_pictures_are_drawn_anew(client: Client, hostile_root: tuple[Root, list[Bad]]) -> None:
    """No byte of a stranger's file reaches the browser as a picture; the original is a download of unknown kind."""
    for number, one in enumerate(hostile_root[1]):
        for side in (256, 2048):
            answer = client.get(f"/picture/{NAME}/{number}?side={side}")
            assert answer.status == 200, one.name
            assert answer.headers["content-type"].partition(";")[0] in ("image/jpeg", "image/svg+xml"), (
                one.name
            )
            assert answer.body != one.picture, one.name
            assert b"<script" not in answer.body.lower(), one.name
            assert b"Exif" not in answer.body, one.name
            assert len(answer.body) < 2_000_000
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        original = client.get(f"/original/{NAME}/{number}")
        assert original.headers["content-type"] == "application/octet-stream", one.name
        assert original.headers["content-disposition"].startswith("attachment"), one.name
        assert original.headers["x-content-type-options"] == "nosniff", one.name
        assert original.body == one.picture, one.name
        assert "\n" not in original.headers["content-disposition"]


def test_an_original_opened_by_address_is_not_a_page(
    hostile_view: View, visit: Visit, place: Callable[[str], int]
) -> None:
    """HTML that is named .jpg, opened by its own address, is saved and not shown."""
    visitor = visit(hostile_view)
    page = visitor.page
    with page.expect_download():
        page.evaluate(f"location.href = '/original/{NAME}/{place('html')}'")
    unharmed(visitor)


def test_placeholders_say_what_it_is(client: Client, hostile_root: tuple[Root, list[Bad]]) -> None:
    """A bomb is called a bomb, HTML no image: the drawing in its place has words, and no word of the file's own."""
    for number, one in enumerate(hostile_root[1]):
        if not one.drawable:
            answer = client.get(f"/picture/{NAME}/{number}?side=256").body.decode("utf-8")
            assert answer.startswith("<svg"), one.name
            assert len(re.sub(r"<[^>]*>", "", answer).strip()) > 3, one.name
            assert MARK not in answer


def test_hostile_captions_are_found(hostile_view: View, visit: Visit, shots: Path) -> None:
    """Searching among them finds by words, marks them, and takes any text for a search."""
    visitor = visit(hostile_view)
    for words in (
        "script",
        "猫",
        "W" * 900,
        "'; DROP TABLE sample; --",
        "NEAR(",
        '"',
        "*",
        "\x00",
        "a" * 1001,
        "-",
        "()^{}",
    ):
        visitor.page.goto(f"{hostile_view.origin}/search?q={quote(words)}")
        unharmed(visitor)
        assert visitor.page.locator("h1").count() == 1
    visitor.go("/search?q=script")
    visitor.page.screenshot(path=shots / "hostile-search.png")
    expect(visitor.page.locator("ul.grid mark").first).to_be_visible()
    visitor.complaints = [one for one in visitor.complaints if "status of 400" not in one]


def test_hostile_addresses(client: Client) -> None:
    """Whatever is put into an address, the answer is a page that says no, and never an error of ours."""
    odd = [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "<script>",
        "a" * 4000,
        "%ff%fe",
        "-1",
        "1e9",
        "99999999999999999999",
    ]
    paths = [
        f"/{kind}/{name}/{number}"
        for kind in ("sample", "picture", "original")
        for name in (NAME, *odd)
        for number in odd[-5:]
    ]
    paths += [
        f"/{page}?{name}={quote(value, safe='%')}"
        for page in ("browse", "search", "stats", "alike", "leaks", "shards", "left-out", "keys.txt")
        for name in (
            "dataset",
            "q",
            "width",
            "after",
            "before",
            "seed",
            "flag",
            "of",
            "shard",
            "host",
            "lang",
        )
        for value in odd
    ]
    paths += [f"/static/{name}" for name in odd] + [f"/picture/{NAME}/0?side={side}" for side in odd]
    bad = {}
    for path in paths:
        answer = client.get(path)
        if answer.status not in (200, 303, 307, 400, 404, 410, 414):
            bad[path] = answer.status
        if answer.is_page and answer.status == 200 and b"<script>" in answer.body:
            bad[path] = -1
        assert b"root:" not in answer.body
    assert bad == {}


def test_no_request_comes_from_a_page_of_another(hostile_view: View, visit: Visit, tmp_path: Path) -> None:
    """A page that stands elsewhere can neither show our pictures nor read our lists, though the reader is signed in."""
    evil = tmp_path / "evil.html"
    evil.write_text(f"<img src='{hostile_view.origin}/picture/{NAME}/0?side=256'>", encoding="utf-8")
    visitor = visit(hostile_view)
    asked: list[Request] = []
    visitor.page.on("request", lambda one: asked.append(one))
    with visitor.page.expect_console_message(lambda one: "NotSameOrigin" in one.text):
        visitor.page.goto(evil.as_uri())
    visitor.everything()
    assert visitor.page.evaluate("document.images[0].naturalWidth") == 0
    # The icon and the pictures of the page before may still come in.
    urls = [one.url.partition("?")[0] for one in asked if "/static/" not in one.url]
    assert urls[urls.index(evil.as_uri()) + 1 :] == [f"{hostile_view.origin}/picture/{NAME}/0"]
    visitor.complaints.clear()
