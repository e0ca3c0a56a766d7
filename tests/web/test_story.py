"""The user's story in a real browser, from the first page to the exclusion list, with JavaScript and without."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest
from playwright.sync_api import expect
from tests.web.conftest import (
    LIMIT_S,
    LOOKALIKES,
    Root,
    View,
    Visit,
    Visitor,
    copied,
    plain_variables,
    viewing,
    wait_for,
)
from tests.web.crawl import Client

import g3m
from g3m.lab.exchange import Exchange
from g3m.lab.messages import Reply
from g3m.lab.world import World

DATASETS = ("cc3m", "cc3m_valid", "coco", "coco_valid", "laion115m", "openimages_v7_valid", "sbu", LOOKALIKES)
both = pytest.mark.parametrize("javascript", [True, False], ids=["with-script", "without"])


def total(visitor: Visitor) -> int:
    """The number in the heading of a list."""
    text = visitor.page.locator("h1 small").inner_text()
    found = re.search(r"[\d,\u202f ]*\d", text)
    assert found is not None, text
    return int(re.sub(r"\D", "", found[0]))


def cards(visitor: Visitor) -> int:
    """How many samples the grid shows."""
    return visitor.page.locator("ul.grid > li").count()


def search(visitor: Visitor, words: str) -> None:
    """Type into the box at the top."""
    visitor.page.locator("header input[name=q]").fill(words)
    visitor.page.locator("header input[name=q]").press("Enter")
    visitor.page.wait_for_url("**/search?*q=*")


@both
def test_home_says_what_is_here_and_what_is_not(view: View, visit: Visit, javascript: bool) -> None:
    """A card for each dataset with its samples, its licence, and why something is missing."""
    page = visit(view, javascript=javascript).page
    assert "t=" not in page.url
    names = page.locator(".dataset")
    expect(names).to_have_count(len(DATASETS))
    laion = names.filter(has_text="laion115m")
    expect(laion).to_contain_text("12")
    expect(laion.locator(".why li")).to_have_count(2)
    expect(names.filter(has_text="coco_valid").locator(".big")).to_contain_text("70")
    expect(names.filter(has_text=LOOKALIKES).locator(".big")).to_contain_text("20")


@both
def test_browse_pages_and_filters_stand_in_the_address(view: View, visit: Visit, javascript: bool) -> None:
    """From a card to the grid, on, back, a filter; the address bar alone brings somebody else to the same pictures."""
    visitor = visit(view, javascript=javascript)
    page = visitor.page
    page.locator(".dataset").filter(has_text="coco_valid").locator("h2 a").click()
    page.wait_for_url("**/browse?dataset=coco_valid")
    assert (cards(visitor), total(visitor)) == (60, 70)
    page.locator("a[rel=next]").first.click()
    page.wait_for_url("**after=*")
    assert cards(visitor) == 10
    last = page.locator("ul.grid li a").first.get_attribute("href")
    page.locator("a[rel=prev]").first.click()
    page.wait_for_url("**before=*")
    assert cards(visitor) == 60
    page.go_back()
    assert page.locator("ul.grid li a").first.get_attribute("href") == last
    if page.locator("details.filters[open]").count() == 0:
        page.locator("details.filters summary").click()
    page.locator("form.filter-form input[name=width]").fill("400-")
    page.locator("form.filter-form button").click()
    page.wait_for_url("**width=400-*")
    expect(page.locator(".chip.less")).to_contain_text("400-")
    found = cards(visitor)
    assert 0 < found < 60
    other = visit(view)
    other.go(page.url)
    assert cards(other) == found
    sizes = [text.split("×")[0] for text in other.page.locator("ul.grid .facts").all_inner_texts()]
    assert all(int(size.split()[-1]) >= 400 for size in sizes)


@both
def test_search_marks_what_it_found(view: View, visit: Visit, shots: Path, javascript: bool) -> None:
    """Words, a phrase, a prefix, without, and Chinese; every caption found has the words, and they are marked."""
    visitor = visit(view, javascript=javascript)
    search(visitor, "red circle")
    everything = total(visitor)
    assert everything > 0
    marks = [text.lower() for text in visitor.page.locator("ul.grid mark").all_inner_texts()]
    assert {"red", "circle"} <= set(marks) or "red circle" in marks
    visitor.page.screenshot(path=shots / f"story-search-{javascript}.png")
    search(visitor, '"red circle"')
    phrase = total(visitor)
    assert 0 < phrase <= everything
    for caption in visitor.page.locator("ul.grid .caption").all_inner_texts():
        assert "red circle" in caption.lower()
    search(visitor, "red circ*")
    assert total(visitor) >= everything
    search(visitor, "red -circle")
    assert all(
        "circle" not in text.lower() for text in visitor.page.locator("ul.grid .caption").all_inner_texts()
    )
    search(visitor, '"')
    expect(visitor.page.locator("h1")).to_be_visible()
    visitor.complaints = [one for one in visitor.complaints if "status of 400" not in one]


def test_the_keys_of_a_search_are_a_list(view: View, drawn_root: Root) -> None:
    """What is found can be taken along: as many lines as the page says, and `g3m search` finds the same."""
    client = Client(view.address)
    lines = client.get("/keys.txt?q=red+circle").body.decode("utf-8").splitlines()
    told = drawn_root.run("search", "red circle", "--keys", "--limit", "1000").splitlines()
    assert sorted(told) == sorted(lines)
    assert len(lines) == len(set(lines)) > 0


@both
def test_a_sample_is_shown_whole(view: View, visit: Visit, shots: Path, javascript: bool) -> None:
    """Picture, caption, json, shard and offset; the neighbours; and lines of Python that are true."""
    visitor = visit(view, javascript=javascript)
    page = visitor.go("/browse?dataset=coco_valid")
    page.locator("ul.grid li a").nth(4).click()
    page.wait_for_url("**/sample/coco_valid/4")
    visitor.settle()
    page.screenshot(path=shots / f"story-sample-{javascript}.png", full_page=True)
    with g3m.dataset("coco_valid", root=view.root.path) as data:
        sample = data[4]
        expect(page.locator("h1")).to_contain_text(sample.key)
        expect(page.locator(".said")).to_contain_text(sample.text.split()[0])
        assert "00000.tar" in page.locator(".facts-table").inner_text()
        names: dict[str, object] = {}
        exec(page.locator("section.code pre").inner_text(), names)
        assert names["image"] == sample.image
        assert names["sample"].key == sample.key  # type: ignore[attr-defined]
    page.locator("a[rel=next]").first.click()
    page.wait_for_url("**/sample/coco_valid/5")
    page.locator("a[rel=prev]").first.click()
    page.wait_for_url("**/sample/coco_valid/4")


def test_the_original_is_saved_and_never_shown(view: View, visit: Visit) -> None:
    """The picture's own bytes come as a download, exactly as they lie in the tar."""
    visitor = visit(view)
    page = visitor.go("/sample/coco_valid/4")
    with page.expect_download() as waiting:
        page.locator("a[download]").click()
    path = waiting.value.path()
    with g3m.dataset("coco_valid", root=view.root.path) as data:
        assert Path(path).read_bytes() == data[4].image


@both
def test_every_bar_opens_the_samples_it_counts(view: View, visit: Visit, javascript: bool) -> None:
    """The number on a bar is the number of samples behind its link; of duplicates it opens the pairs, of losses the list."""
    visitor = visit(view, javascript=javascript)
    visitor.go("/stats?dataset=coco_valid")
    panels = visitor.page.locator("section.panel").all()
    assert len(panels) >= 7
    bars = []
    for panel in panels:
        link = panel.locator("svg a, ol.rows a").first
        if link.count():
            words = link.get_attribute("aria-label") or link.inner_text()
            bars.append(
                (
                    link.get_attribute("href") or "",
                    int(re.sub(r"\D", "", words.split()[-1] if ":" not in words else words.split(":")[-1])),
                )
            )
    assert len(bars) >= 6
    for address, count in bars:
        visitor.go(address)
        if address.startswith("/alike"):
            assert visitor.page.locator("main img").count() >= 2, address
        elif address.startswith("/left-out"):
            expect(visitor.page.locator("main table .num").first).to_have_text(str(count))
        else:
            assert total(visitor) == count, address
    assert {address.partition("?")[0] for address, _ in bars} >= {"/browse", "/search", "/alike"}


@both
def test_pictures_that_are_the_same_are_shown_together(view: View, visit: Visit, javascript: bool) -> None:
    """Ten pictures of coco_valid stand in the other set as they are, ten drawn anew: all are pairs, and each says how."""
    visitor = visit(view, javascript=javascript)
    visitor.go("/alike?dataset=" + LOOKALIKES)
    visitor.settle()
    assert visitor.page.locator(".pair").count() >= 20
    exact = visitor.page.locator(".pair .chip.strong").count()
    assert exact == 10
    visitor.go("/sample/" + LOOKALIKES + "/0")
    expect(visitor.page.locator("ul.grid")).to_contain_text("coco_valid")


@both
def test_leaks_are_a_picture_a_list_and_a_file(
    view: View, visit: Visit, tmp_path: Path, javascript: bool
) -> None:
    """Is an evaluation picture in the training set? The page says which, and its file makes the loader leave them out."""
    visitor = visit(view, javascript=javascript)
    page = visitor.go("/leaks?of=coco_valid")
    expect(page.locator("main")).to_contain_text(LOOKALIKES)
    with page.expect_download() as waiting:
        page.locator("a[href*='leaked.jsonl']").first.click()
    path = waiting.value.path()
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    found = {row["key"] for row in rows if row.get("dataset") == LOOKALIKES}
    assert found >= {f"own{number:03d}" for number in range(10)}
    # Of those drawn anew, one may be taken for another picture.
    assert len(found) >= 19
    with g3m.dataset(LOOKALIKES, root=view.root.path, exclude=path) as data:
        assert {data[number].key for number in range(len(data))}.isdisjoint(found)
        assert len(data) == 20 - len(found)


def test_keys_on_the_keyboard(view: View, visit: Visit) -> None:
    """j and k turn pages, / goes to the search box, g h home, ? to the help; in the box they are letters."""
    visitor = visit(view)
    page = visitor.go("/browse?dataset=coco_valid")
    page.keyboard.press("j")
    page.wait_for_url("**after=*")
    page.keyboard.press("k")
    page.wait_for_url("**before=*")
    page.keyboard.press("/")
    expect(page.locator("header input[name=q]")).to_be_focused()
    page.keyboard.type("jk g h")
    expect(page.locator("header input[name=q]")).to_have_value("jk g h")
    page.keyboard.press("Escape")
    page.locator("header input[name=q]").blur()
    page.keyboard.press("g")
    page.keyboard.press("h")
    page.wait_for_url(view.origin + "/")
    page.keyboard.press("?")
    page.wait_for_url("**/help*")


def test_the_language_is_remembered(view: View, visit: Visit) -> None:
    """One click, and every page is Chinese until the next; the address stays clean of it."""
    visitor = visit(view)
    page = visitor.page
    page.locator("a.lang[hreflang^=zh]").click()
    expect(page.locator("html")).to_have_attribute("lang", re.compile("^zh"))
    visitor.go("/stats")
    expect(page.locator("html")).to_have_attribute("lang", re.compile("^zh"))
    page.locator("a.lang[hreflang=en]").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_one_can_get_everywhere_by_tab(view: View, visit: Visit) -> None:
    """The first Tab offers to skip the head; wherever the focus is, it can be seen."""
    page = visit(view).go("/browse?dataset=coco_valid")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    for _ in range(25):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            "(() => { const one = document.activeElement, style = getComputedStyle(one);"
            " return one === document.body || style.outlineStyle !== 'none' || style.boxShadow !== 'none'; })()"
        )
        assert seen, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_filters_change_the_list_without_a_new_page(view: View, visit: Visit) -> None:
    """With JavaScript, choosing a format asks for the list alone, and the address follows; back brings the old list."""
    visitor = visit(view)
    page = visitor.go("/browse?dataset=coco_valid&width=300-")
    page.evaluate("window.same = 1")
    before = cards(visitor)
    page.locator("form.filter-form select[name=flag]").select_option("grayscale")
    page.wait_for_url("**flag=grayscale*")
    expect(page.locator(".chip.less")).to_have_count(2)
    assert page.evaluate("window.same") == 1
    assert cards(visitor) < before
    page.go_back()
    page.wait_for_url(lambda url: "flag=" not in url)
    expect(page.locator(".chip.less")).to_have_count(1)


def test_a_shuffle_is_the_same_for_all(view: View, visit: Visit) -> None:
    """Shuffled once more, the order is another one; the address with its seed shows everybody the same."""
    visitor = visit(view)
    page = visitor.go("/browse?dataset=coco_valid")
    first = page.locator("ul.grid li a").first.get_attribute("href")
    page.keyboard.press("r")
    page.wait_for_url("**seed=*")
    shuffled = [one.get_attribute("href") for one in page.locator("ul.grid a.frame").all()]
    assert len(set(shuffled)) == len(shuffled) > 0
    other = visit(view, javascript=False)
    other.go(page.url)
    assert [one.get_attribute("href") for one in other.page.locator("ul.grid a.frame").all()] == shuffled
    page.keyboard.press("r")
    page.wait_for_url(lambda url: url != other.page.url)
    assert [one.get_attribute("href") for one in page.locator("ul.grid a.frame").all()] != shuffled
    assert first


@dataclass(frozen=True)
class Held:
    """Mischief that makes a body wait until it is let go."""

    let_go: Event = field(default_factory=Event)

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.has_body:
            self.let_go.wait(LIMIT_S)
        return None


def test_a_run_in_another_shell_is_seen_at_work(visit: Visit, tmp_path: Path, shots: Path) -> None:
    """`g3m get` in one shell, `g3m view` in another: the page shows the run, goes on by itself, and sees its end."""
    with World(tmp_path / "world", samples=40) as world:
        (tmp_path / "g3m.toml").write_text(world.config(), encoding="utf-8")
        root = Root(tmp_path / "data", {**plain_variables(tmp_path / "home"), **world.variables})
        held = Held()
        world.origin.mischief("*/val2017.zip", held)
        getting = subprocess.Popen(
            root.command("get", "coco_valid", "--yes"),
            env=root.variables,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with getting:
            try:
                wait_for(lambda: (root.path / ".g3m" / "events.jsonl").exists(), "the run's first event")
                with viewing(root) as view:
                    visitor = visit(view)
                    page = visitor.go("/downloads")
                    page.evaluate("window.same = 1")
                    expect(page.locator(".tile").first).to_be_visible()
                    expect(page.locator(".state-part")).to_be_visible()
                    page.screenshot(path=shots / "story-downloads.png", full_page=True)
                    held.let_go.set()
                    expect(page.locator(".state-done")).to_be_visible(timeout=60_000)
                    assert page.evaluate("window.same") == 1
                    assert getting.wait(60) == 0
                    page = visitor.go("/")
                    expect(page.locator(".dataset .big")).to_contain_text("40")
            finally:
                held.let_go.set()
                getting.kill()


def test_without_a_catalog_one_can_look_all_the_same(bare_root: Root, visit: Visit, shots: Path) -> None:
    """Home, browsing by number and samples work at once; search and charts say which command they wait for."""
    with viewing(bare_root) as view:
        visitor = visit(view)
        page = visitor.go("/browse?dataset=coco_valid")
        assert cards(visitor) == 60
        page.locator("a[rel=next]").first.click()
        page.wait_for_url("**after=*")
        assert cards(visitor) == 10
        page.locator("ul.grid li a").first.click()
        page.wait_for_url("**/sample/coco_valid/60")
        for address in (
            "/search?q=red",
            "/stats",
            "/browse?dataset=coco_valid&width=640-",
            "/alike",
            "/leaks?of=coco_valid",
        ):
            visitor.go(address)
            expect(page.locator("main")).to_contain_text("g3m index")
            page.screenshot(path=shots / f"bare-{address.strip('/').split('?')[0]}.png")


def test_what_was_dropped_is_not_shown(drawn_root: Root, tmp_path: Path, visit: Visit) -> None:
    """`g3m drop` while somebody looks: the sample is gone from lists, its page says why, its picture is not handed out."""
    root = copied(drawn_root, tmp_path)
    with viewing(root) as view, g3m.dataset("coco_valid", root=root.path) as data:
        visitor = visit(view)
        key = data[2].key
        (tmp_path / "keys").write_text(f"coco_valid/{key}\n", encoding="utf-8")
        root.run("drop", "--keys", str(tmp_path / "keys"), "--reason", "the owner asked")
        client = Client(view.address)
        wait_for(lambda: client.get("/sample/coco_valid/2").status == 410, "the sample to be gone")
        page = visitor.go("/sample/coco_valid/2", status=410)
        expect(page.locator("main")).to_contain_text("the owner asked")
        assert client.get("/picture/coco_valid/2?side=256").status == 410
        assert client.get("/original/coco_valid/2").status == 410
        assert '/sample/coco_valid/2"' not in client.get("/browse?dataset=coco_valid").body.decode("utf-8")
        root.run("index", "--pictures")
        assert '/sample/coco_valid/2"' not in client.get("/browse?dataset=coco_valid").body.decode("utf-8")


def test_a_million_rows(million_root: Root, visit: Visit, shots: Path) -> None:
    """Over a catalog of a million rows, every list is there at once, from the first page to the last."""
    with viewing(million_root) as view:
        visitor = visit(view)
        visitor.page.set_default_timeout(15_000)
        visitor.go("/search?q=needle")
        assert (cards(visitor), total(visitor)) == (50, 50)
        visitor.go("/search?q=red")
        assert cards(visitor) == 60
        expect(visitor.page.locator("h1 small")).to_contain_text("10")
        visitor.go("/search?q=red&width=480")
        assert cards(visitor) == 60
        visitor.go("/browse?words=4")
        assert cards(visitor) == 50
        visitor.go("/browse?words=4&width=640")
        assert cards(visitor) == 50
        visitor.go("/stats")
        visitor.page.screenshot(path=shots / "million-stats.png")
        expect(visitor.page.locator("h1 small")).to_contain_text("1,000,000")
        visitor.go("/browse?seed=7")
        assert cards(visitor) > 30
        visitor.page.screenshot(path=shots / "million-shuffled.png")
        client = Client(view.address)
        assert client.get("/keys.txt?q=needle").body.count(b"\n") == 50
        # Behind most of the rows there is no shard here, so that most pictures are not there either.
        visitor.page.goto("about:blank")
        visitor.complaints = [one for one in visitor.complaints if "/picture/" not in one]
