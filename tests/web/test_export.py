"""`g3m view --export`: a folder of pages that opens by double click, holds together, and never takes what is not its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from tests.web.conftest import Bad, Root, Visit, copied, plain_variables
from tests.web.crawl import Parsed

from g3m.adapters import fsio
from g3m.core.errors import UsageError
from g3m.ui.web import export as exporting

SAMPLES = 12


def pages(folder: Path) -> dict[Path, Parsed]:
    """Every page of a copy."""
    return {path: Parsed(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}


def broken_links(folder: Path) -> list[str]:
    """Links that lead to no file of the copy, and those that lead out of it without being on the web."""
    found = []
    for path, page in pages(folder).items():
        for link in page.links:
            plain = unquote(urldefrag(link).url)
            if not plain:
                continue
            target = (path.parent / plain).resolve()
            is_web = plain.startswith(("https://", "http://"))
            inside = target.is_relative_to(folder.resolve()) and target.is_file()
            if not (is_web or inside):
                found.append(f"{path.name}: {link}")
    return found


def test_no_link_is_broken(exported: Path) -> None:
    """Every address on every page is a file of the copy, or a page of the web that a recipe names."""
    found = pages(exported)
    assert len(found) > 7 * SAMPLES
    assert broken_links(exported) == []
    wrong = [f"{path.name}: {one}" for path, page in found.items() for one in page.wrong]
    assert wrong == []


def test_every_file_is_reached(exported: Path) -> None:
    """Nothing lies in the copy that no page leads to."""
    reached = {exported / "index.html", exported / exporting.MARKER}
    for path, page in pages(exported).items():
        reached |= {(path.parent / unquote(urldefrag(link).url)).resolve() for link in page.links}
    files = {path for path in exported.rglob("*") if path.is_file()}
    assert files <= reached


def test_the_copy_is_bounded_and_says_so(exported: Path) -> None:
    """So many samples of each dataset have a page; each page says that it is a part; nothing asks a server."""
    found = pages(exported)
    samples = [path.name for path in found if path.name.startswith("sample-coco_valid-")]
    assert SAMPLES <= len(samples) <= 2 * SAMPLES
    for path, page in found.items():
        assert f"first {SAMPLES} samples" in page.text, path
        assert not {"form", "button", "input", "select"} & set(page.elements), path
    assert not any("htmx" in path.name for path in exported.rglob("*"))


def test_a_copy_does_not_tell_where_it_was_made(exported: Path, drawn_root: Root) -> None:
    """It is handed on, so no folder of this machine stands in it; the lines of Python name the dataset."""
    page = Parsed((exported / "pages" / "sample-coco_valid-0.html").read_text(encoding="utf-8"))
    assert "g3m.dataset('coco_valid')" in page.text
    outside = str(drawn_root.path.parent).encode()
    assert [
        path.name for path in exported.rglob("*") if path.is_file() and outside in path.read_bytes()
    ] == []


def test_it_opens_from_the_disk(exported: Path, visit: Visit, tmp_path: Path, shots: Path) -> None:
    """Moved elsewhere and opened as a file: styled, all pictures there, no word on the console, no request."""
    moved = Path(shutil.copytree(exported, tmp_path / "moved here"))
    visitor = visit(None)
    visitor.go((moved / "index.html").as_uri())
    visitor.page.locator("a[href*='browse-coco_valid']").first.click()
    visitor.everything()
    sizes = visitor.page.evaluate("Array.from(document.images).map(one => one.naturalWidth)")
    assert len(sizes) == 60
    assert all(sizes)
    visitor.page.screenshot(path=shots / "export-browse.png")
    visitor.page.locator("main a[href*='sample-coco_valid-0.html']").first.click()
    visitor.everything()
    assert visitor.page.evaluate("document.images[0].naturalWidth") > 0
    assert visitor.page.evaluate("getComputedStyle(document.body).fontFamily") != "Times New Roman"
    visitor.page.screenshot(path=shots / "export-sample.png")
    assert visitor.violations() == []
    assert all(one.startswith(moved.as_uri()) for one in visitor.requests)


def test_a_policy_stands_in_every_page(exported: Path, visit: Visit, tmp_path: Path) -> None:
    """A script that somebody gets into a page of the copy does not run: the policy is written in it."""
    moved = Path(shutil.copytree(exported, tmp_path / "moved"))  # with all that a page asks for beside it
    page = (moved / "index.html").read_text(encoding="utf-8")
    evil = moved / "evil.html"
    evil.write_text(page.replace("</main>", "<script>window.ran = 1</script></main>"), encoding="utf-8")
    visitor = visit(None)
    with visitor.page.expect_console_message(lambda one: "script-src" in one.text):
        visitor.go(evil.as_uri())
    assert visitor.page.evaluate("window.ran") is None
    assert any("script-src" in one for one in visitor.violations())
    visitor.complaints.clear()


def test_an_export_in_chinese(drawn_root: Root, tmp_path: Path) -> None:
    """--lang zh writes Chinese pages, and no link to other ones."""
    drawn_root.run("view", "--export", str(tmp_path / "copy"), "--samples", "1", "--lang", "zh")
    first = Parsed((tmp_path / "copy" / "index.html").read_text(encoding="utf-8"))
    assert "前 1 个样本" in first.text
    assert broken_links(tmp_path / "copy") == []


def test_an_earlier_copy_is_replaced_and_nothing_else(drawn_root: Root, tmp_path: Path) -> None:
    """Again into the same folder: the old pages are gone. A folder with one file of a person is left as it is."""
    folder = tmp_path / "copy"
    folder.mkdir()
    drawn_root.run("view", "--export", str(folder), "--samples", "2")
    assert (folder / "pages" / "sample-coco-1.html").is_file()
    drawn_root.run("view", "--export", str(folder), "--samples", "1")
    assert not (folder / "pages" / "sample-coco-1.html").exists()
    (folder / "thesis.tex").write_text("mine", encoding="utf-8")
    before = sorted(folder.rglob("*"))
    drawn_root.run("view", "--export", str(folder), "--samples", "1", code=2)
    assert sorted(folder.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_without_a_catalog_there_are_samples_all_the_same(bare_root: Root, tmp_path: Path) -> None:
    """Pages that need the catalog say so, and the rest is written."""
    bare_root.run("view", "--export", str(tmp_path / "copy"), "--samples", "2")
    assert broken_links(tmp_path / "copy") == []
    assert (tmp_path / "copy" / "pages" / "sample-cc3m-1.html").is_file()


def test_a_copy_of_what_is_hostile(
    hostile_root: tuple[Root, list[Bad]], tmp_path: Path, visit: Visit
) -> None:
    """Names, captions and pictures of strangers make neither files elsewhere nor pages that run anything."""
    root, bad = hostile_root
    root.run("view", "--export", str(tmp_path / "copy"))
    assert broken_links(tmp_path / "copy") == []
    found = pages(tmp_path / "copy")
    samples = [path for path in found if path.name.startswith("sample-")]
    assert len(samples) == len(bad)
    assert [one for page in found.values() for one in page.wrong] == []
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    visitor = visit(None)
    for path in samples:
        visitor.go(path.as_uri())
        assert visitor.page.evaluate("window.g3mWasHere") is None
        assert visitor.violations() == []


def test_what_was_there_stays_until_the_end(tmp_path: Path) -> None:
    """An export that fails in the middle leaves the earlier copy, and nothing beside it."""
    folder = tmp_path / "copy"
    with exporting._new_folder(folder) as new:
        (new / exporting.MARKER).write_text("{}", encoding="utf-8")
    with pytest.raises(RuntimeError), exporting._new_folder(folder) as new:
        raise RuntimeError
    assert (folder / exporting.MARKER).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    with pytest.raises(UsageError), exporting._new_folder(folder) as new:
        (new / exporting.MARKER).write_text("{}", encoding="utf-8")
        (folder / "mine").write_text("put there meanwhile", encoding="utf-8")
    assert (folder / "mine").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_what_a_killed_export_left_is_cleared_up(tmp_path: Path) -> None:
    """What was half written goes; what had been moved away for the exchange comes back."""
    folder, half, old = (tmp_path / name for name in ("copy", ".copy.new", ".copy.old"))
    (half / "pages").mkdir(parents=True)
    (half / "pages" / "half.html").write_text("half", encoding="utf-8")
    old.mkdir()
    (old / exporting.MARKER).write_text("{}", encoding="utf-8")
    with pytest.raises(RuntimeError), exporting._new_folder(folder) as new:
        assert not list((new / "pages").iterdir())
        raise RuntimeError
    assert (folder / exporting.MARKER).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    shutil.copytree(folder, old)
    with exporting._new_folder(folder) as new:
        (new / exporting.MARKER).write_text("new", encoding="utf-8")
    assert (folder / exporting.MARKER).read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.mark.parametrize("name", [".copy.new", ".copy.old"])
def test_what_a_person_put_there_stays(tmp_path: Path, name: str) -> None:
    """Also under the names that an export uses while it works."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError), exporting._new_folder(tmp_path / "copy"):
        pass
    assert (tmp_path / name / "thesis.tex").read_text(encoding="utf-8") == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_exports_into_one_folder(tmp_path: Path) -> None:
    """The second is refused and touches nothing of the first."""
    with exporting._new_folder(tmp_path / "copy") as new:
        (new / exporting.MARKER).write_text("first", encoding="utf-8")
        with pytest.raises(UsageError, match="another export"), exporting._new_folder(tmp_path / "copy"):
            pass
    assert (tmp_path / "copy" / exporting.MARKER).read_text(encoding="utf-8") == "first"


def test_a_signal_in_the_middle_of_the_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is not left empty: the earlier copy is put back."""
    folder = tmp_path / "copy"
    with exporting._new_folder(folder) as new:
        (new / exporting.MARKER).write_text("{}", encoding="utf-8")
    rename = fsio.rename

    def stopped(old: Path, new: Path) -> None:
        if old.name == ".copy.new":
            raise KeyboardInterrupt
        rename(old, new)

    monkeypatch.setattr(fsio, "rename", stopped)
    with pytest.raises(KeyboardInterrupt), exporting._new_folder(folder):
        pass
    assert (folder / exporting.MARKER).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is replaced, also a second time."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for _ in range(2):
        with exporting._new_folder(tmp_path / "link") as new:
            (new / exporting.MARKER).write_text("{}", encoding="utf-8")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / exporting.MARKER).is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


@pytest.mark.parametrize("name", [".", "..", "../here"])
def test_the_folder_that_one_is_in_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It would be replaced by another, and the shell would stand in none."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="you are in"), exporting._new_folder(Path(name)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_damaged_shard_costs_its_pictures_only(bare_root: Root, tmp_path: Path) -> None:
    """The others are written, and in its place stands a drawing that says so."""
    root = copied(bare_root, tmp_path)
    for path in root.path.iterdir():
        if path.name not in ("sbu", "coco"):
            shutil.rmtree(path)
    shard = next((root.path / "sbu").rglob("*.tar"))
    with open(shard, "r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    root.run("view", "--export", str(tmp_path / "copy"), "--samples", "2")
    assert broken_links(tmp_path / "copy") == []
    assert (tmp_path / "copy" / "pages" / "sample-coco-1.html").is_file()
    drawings = {path.name.partition("-")[0] for path in (tmp_path / "copy" / "pictures").glob("*.svg")}
    assert drawings == {"sbu"}


def test_a_file_of_that_name_is_refused(tmp_path: Path) -> None:
    """--export FILE is an error, and the file stays."""
    (tmp_path / "copy").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError), exporting._new_folder(tmp_path / "copy"):
        pass
    assert (tmp_path / "copy").read_text(encoding="utf-8") == "mine"


def test_an_empty_root(tmp_path: Path) -> None:
    """Of a root without datasets there is a first page, and it leads nowhere wrong."""
    (tmp_path / "data").mkdir()
    root = Root(tmp_path / "data", plain_variables(tmp_path / "home"))
    root.run("view", "--export", str(tmp_path / "copy"))
    assert (tmp_path / "copy" / "index.html").is_file()
    assert broken_links(tmp_path / "copy") == []
