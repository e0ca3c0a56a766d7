"""What must be true of every page: nothing breaks, nothing is asked elsewhere, it holds still, and all can read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.web.conftest import Bad, Root, View, Visit
from tests.web.crawl import Answer, Client, Parsed, walk

PAGES = {
    "home": "/",
    "downloads": "/downloads",
    "browse": "/browse?dataset=coco_valid",
    "search": "/search?q=red",
    "search-empty": "/search",
    "search-nothing": "/search?q=nobodysaysthis",
    "sample": "/sample/coco_valid/3",
    "stats": "/stats?dataset=coco_valid",
    "stats-all": "/stats",
    "alike": "/alike",
    "leaks": "/leaks?of=coco_valid",
    "shards": "/shards?dataset=cc3m",
    "left-out": "/left-out?dataset=laion115m",
    "help": "/help",
}
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}
PAGE_BYTES = 150_000
"""A page as it is answered, without its pictures."""

WEIGHT_BYTES = 1_500_000
"""A page with all its pictures, style and scripts, at the first visit."""

CONTRAST = """() => {
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v =>
        v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const over = (top, below) => { const a = top.length > 3 ? top[3] : 1;
        return [0, 1, 2].map(i => top[i] * a + below[i] * (1 - a)); };
    const behind = one => { const layers = [];
        for (let at = one; at; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor));
        return layers.reverse().reduce((sum, layer) => over(layer, sum),
            matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255]); };
    const weak = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const one = walker.currentNode.parentElement, style = getComputedStyle(one);
        if (!walker.currentNode.data.trim() || !one.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
        if (one.closest('svg, [disabled], [aria-disabled=true], select')) continue;
        const ground = behind(one), ink = over(parts(style.color), ground);
        const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
        const ratio = (high + 0.05) / (low + 0.05);
        const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && style.fontWeight >= 700);
        if (ratio < (large ? 3 : 4.5)) weak.push(ratio.toFixed(2) + ' ' + one.tagName + '.' + one.className + ' '
            + walker.currentNode.data.trim().slice(0, 30));
    }
    return weak;
}"""
UNNAMED = """() => Array.from(document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea'))
    .filter(one => one.checkVisibility() && !one.closest('[aria-hidden=true]')).filter(one => !(one.textContent.trim() && one.tagName !== 'SELECT') && !one.labels?.length
        && !one.getAttribute('aria-label') && !one.title && !one.querySelector?.('img[alt]:not([alt=""]), svg title'))
    .map(one => one.outerHTML.slice(0, 120))"""


def reached(view: View, start: str = "/", most: int = 300) -> dict[str, Answer]:
    """Every address of a server, up to so many, and what was answered."""
    return dict(walk(Client(view.address).get, start, most))


@pytest.fixture(scope="module")
def answers(view: View) -> dict[str, Answer]:
    """What a reader without a browser can reach."""
    return reached(view)


def test_every_link_leads_somewhere(answers: dict[str, Answer]) -> None:
    """Whatever is linked on any page, form or picture included, is answered with 200."""
    assert {path: answer.status for path, answer in answers.items() if answer.status != 200} == {}
    assert len([answer for answer in answers.values() if answer.is_page]) > 60


def test_every_kind_of_page_is_linked(answers: dict[str, Answer]) -> None:
    """From the first page, one can come to every kind of page without knowing an address."""
    kinds = {path.partition("?")[0].split("/")[1] for path in answers}
    assert {
        "",
        "browse",
        "search",
        "sample",
        "stats",
        "alike",
        "leaks",
        "shards",
        "left-out",
        "help",
        "downloads",
        "keys.txt",
        "picture",
        "original",
        "static",
    } <= kinds


def test_every_answer_is_guarded(answers: dict[str, Answer]) -> None:
    """Each has the strict policy, whatever it is; nothing is sniffed, and no address is told to others."""
    for path, answer in answers.items():
        told = {part.strip() for part in answer.headers["content-security-policy"].split(";") if part.strip()}
        assert told >= POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        if path.startswith("/original/"):
            assert answer.headers["content-disposition"].startswith("attachment"), path
            assert answer.headers["content-type"] == "application/octet-stream", path


def test_every_page_is_well_formed(answers: dict[str, Answer]) -> None:
    """What is opened is closed, no identity stands twice, and there is no script, style or handler in the text."""
    wrong = {
        path: found
        for path, answer in answers.items()
        if answer.is_page and (found := Parsed(answer.body.decode("utf-8")).wrong)
    }
    assert wrong == {}


def test_every_page_is_light(answers: dict[str, Answer]) -> None:
    """A page of a grid is some kilobytes, so that it comes through a slow tunnel at once."""
    heavy = {path: len(answer.body) for path, answer in answers.items() if answer.is_page}
    assert {path: size for path, size in heavy.items() if size > PAGE_BYTES} == {}


def test_every_page_in_chinese(view: View) -> None:
    """The pages are there in Chinese, too, and say so; what is remembered is a cookie, not an address."""
    client = Client(view.address)
    client.get("/?lang=zh")
    found = dict(walk(client.get, "/", 80))
    assert {path for path, answer in found.items() if answer.status != 200} == set()
    texts = [answer.body.decode("utf-8") for path, answer in found.items() if answer.is_page]
    assert len(texts) > 20
    assert all('<html lang="zh' in text for text in texts)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_in_a_browser(view: View, visit: Visit, shots: Path, name: str) -> None:
    """It holds still while it loads, breaks no policy, every picture is drawn, and a first visit weighs little."""
    visitor = visit(view)
    visitor.go(PAGES[name])
    visitor.everything()
    visitor.settle()
    visitor.page.screenshot(path=shots / f"{name}.png", full_page=True)
    assert visitor.shift() < 0.01
    assert visitor.violations() == []
    assert visitor.page.evaluate("Array.from(document.images).every(one => one.naturalWidth > 0)")
    sizes = visitor.page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(one => one.encodedBodySize)"
    )
    assert sum(sizes) < WEIGHT_BYTES
    assert visitor.page.evaluate(UNNAMED) == []
    assert visitor.page.evaluate("Array.from(document.images).every(one => one.hasAttribute('alt'))")
    assert visitor.page.locator("h1").count() == 1
    assert visitor.page.locator("main").count() == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read(view: View, visit: Visit, shots: Path, dark: bool) -> None:
    """On every page, each text stands out from what is behind it, by day and by night (WCAG AA)."""
    visitor = visit(view, dark=dark)
    weak: dict[str, list[str]] = {}
    for name, address in PAGES.items():
        visitor.go(address)
        if found := visitor.page.evaluate(CONTRAST):
            weak[name] = found[:5]
        if dark:
            visitor.everything()
            visitor.page.screenshot(path=shots / f"dark-{name}.png")
    assert weak == {}


def test_dark_is_dark(view: View, visit: Visit) -> None:
    """Who prefers a dark screen gets one; who does not gets a light one."""
    ground = "getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    assert visit(view, dark=True).page.evaluate(ground) < 150
    assert visit(view).page.evaluate(ground) > 600


@pytest.mark.parametrize("width", [360, 768])
def test_it_fits_a_small_screen(view: View, visit: Visit, shots: Path, width: int) -> None:
    """No page has to be pushed sideways on a telephone or a half screen."""
    visitor = visit(view, width=width, height=740)
    wide = {}
    for name, address in PAGES.items():
        visitor.go(address)
        visitor.everything()
        if width == 360:
            visitor.page.screenshot(path=shots / f"small-{name}.png")
        over = visitor.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if over > 0:
            wide[name] = over
    assert wide == {}


def test_chinese_pages_in_a_browser(view: View, visit: Visit, shots: Path) -> None:
    """Somebody whose browser asks for Chinese gets it; no page keeps an English label beside."""
    visitor = visit(view, language="zh-CN")
    for name, address in PAGES.items():
        visitor.go(address)
        visitor.everything()
        visitor.page.screenshot(path=shots / f"zh-{name}.png")
        assert visitor.page.evaluate("document.documentElement.lang").startswith("zh")
        navigation = visitor.page.locator("nav").first.inner_text()
        assert not [
            one
            for one in navigation.split()
            if one.isascii() and one.isalpha() and one not in ("English", "EN", "g3m")
        ]


def test_every_hostile_page(hostile_view: View, hostile_root: tuple[Root, list[Bad]]) -> None:
    """All pages over the hostile dataset are answered, are well formed, and have no element that a caption brought."""
    found = reached(hostile_view)
    assert {path: answer.status for path, answer in found.items() if answer.status != 200} == {}
    for path, answer in found.items():
        if answer.is_page:
            page = Parsed(answer.body.decode("utf-8"))
            assert page.wrong == [], path
            assert b"<b>name<b>" not in answer.body, path
            assert not [link for link in page.links if link.startswith("javascript:")], path
    assert len([path for path in found if path.startswith("/sample/")]) > 10


def test_the_measures_measure(visit: Visit, tmp_path: Path) -> None:
    """Faint text, a link without a name, and a page that moves are found where they are: else the tests above prove nothing."""
    page = tmp_path / "poor.html"
    page.write_text(
        "<!doctype html><body><p style='color:#999'>faint</p><p>clear</p><a href='#x'></a><div id=room></div><h2>below</h2>",
        encoding="utf-8",
    )
    visitor = visit(None)
    visitor.go(page.as_uri())
    visitor.settle()
    assert [one.split()[-1] for one in visitor.page.evaluate(CONTRAST)] == ["faint"]
    assert len(visitor.page.evaluate(UNNAMED)) == 1
    assert visitor.shift() == 0
    visitor.page.evaluate("document.getElementById('room').style.height = '400px'")
    visitor.settle()
    assert visitor.shift() > 0.01
