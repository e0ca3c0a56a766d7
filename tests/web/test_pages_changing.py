"""A browser that is open while samples are dropped and shards exchanged; and filters without a new page."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect
from tests.web.conftest import Root, View, Visit, copied, viewing

import g3m
from g3m.core.dropped import DROPPED, Drop, Exchange, Record
from g3m.core.errors import Locked
from g3m.core.shard import ShardSummary


def test_a_dropped_sample_is_not_shown_in_a_browser(
    drawn_root: Root, tmp_path: Path, visit: Visit, shots: Path
) -> None:
    """Its page is 410 with the reason and no picture; neither lists, cards nor neighbours lead there."""
    root = copied(drawn_root, tmp_path)
    with viewing(root) as view, g3m.dataset("coco_valid", root=root.path) as data:
        visitor = visit(view)
        visitor.go("/sample/coco_valid/0")
        (tmp_path / "keys").write_text(f"coco_valid/{data[0].key}\n", encoding="utf-8")
        root.run("drop", "--keys", str(tmp_path / "keys"), "--reason", "the owner asked")
        page = visitor.go("/sample/coco_valid/0", status=410)
        expect(page.locator("main")).to_contain_text("the owner asked")
        expect(page.locator("main img")).to_have_count(0)
        page.screenshot(path=shots / "dropped.png")
        for address in ("/", "/browse?dataset=coco_valid", "/sample/coco_valid/1", "/alike"):
            visitor.go(address)
            visitor.everything()
            expect(page.locator('a[href="/sample/coco_valid/0"]')).to_have_count(0)
            assert page.evaluate("Array.from(document.images).every(one => one.naturalWidth > 0)")


def test_a_page_comes_back_when_shards_are_whole_again(
    drawn_root: Root, tmp_path: Path, visit: Visit, shots: Path
) -> None:
    """While they are exchanged it says so with 503, and asks again by itself."""
    root = copied(drawn_root, tmp_path)
    path = root.path / "coco" / "coco_valid" / DROPPED
    exchange = Exchange(ShardSummary("00000.tar", 1, 1, "0" * 64), "part", ("x",))
    with viewing(root) as view:
        visitor = visit(view)
        path.write_text(Record({"x": Drop("x")}, (exchange,)).encode(), encoding="utf-8")
        page = visitor.go("/sample/coco_valid/3", status=503)
        visitor.complaints.clear()
        expect(page.locator("h1")).to_contain_text("being written anew")
        page.screenshot(path=shots / "rewriting.png")
        path.unlink()
        expect(page.locator("h1 a")).to_contain_text("coco_valid", timeout=30_000)


def test_no_copy_is_made_while_shards_are_exchanged(drawn_root: Root, tmp_path: Path) -> None:
    """A copy would keep the pages that only ask to come back: it is refused, and nothing is left of it."""
    root = copied(drawn_root, tmp_path)
    exchange = Exchange(ShardSummary("00000.tar", 1, 1, "0" * 64), "part", ("x",))
    path = root.path / "coco" / "coco_valid" / DROPPED
    path.write_text(Record({"x": Drop("x")}, (exchange,)).encode(), encoding="utf-8")
    target = tmp_path / "copy"
    done = subprocess.run(
        root.command("view", "--export", str(target), "--samples", "2"),
        env=root.variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == Locked.exit_code, done.stderr
    assert "export when that is done" in done.stderr
    assert not target.exists()


def test_all_filters_can_be_applied_on_a_small_screen(view: View, visit: Visit, shots: Path) -> None:
    """The button is on the screen at 1280 x 800, wherever the page stands."""
    visitor = visit(view, width=1280, height=800)
    page = visitor.go("/browse?dataset=coco_valid")
    page.screenshot(path=shots / "filters.png")
    expect(page.get_by_role("button", name="Apply")).to_be_in_viewport(ratio=1)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.get_by_role("button", name="Apply")).to_be_in_viewport(ratio=1)


def test_what_stands_around_a_list_changes_with_it(view: View, visit: Visit) -> None:
    """After a filter was changed without a new page, the header and the links are of the new list."""
    visitor = visit(view)
    page = visitor.go("/browse?dataset=coco_valid")
    page.locator("select[name=dataset]").select_option("sbu")
    expect(page.locator("#heading")).to_contain_text("sbu")
    assert "dataset=sbu" in (page.locator("#lang").get_attribute("href") or "")
    assert "dataset=sbu" in (page.locator("#clear").get_attribute("href") or "")
    assert page.locator("#seek input[name=dataset]").get_attribute("value") == "sbu"
    assert "dataset=sbu" in urlsplit(page.url).query


def test_commands_are_copied_by_keyboard(view: View, visit: Visit) -> None:
    """A command can be reached with Tab, says what it does, and is copied with Enter."""
    visitor = visit(view)
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.go("/shards?dataset=sbu")
    command = page.locator("[data-copy]").first
    command.focus()
    page.keyboard.press("Enter")
    expect(command).to_have_class("command copied")
    assert command.get_attribute("title") == "Copy"
    assert page.evaluate("navigator.clipboard.readText()") == "g3m verify sbu"
