"""adapters/hubs.py: a repository's listing, page by page, from our endpoint alone, and never nonsense."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters import hubs
from g3m.adapters.curl import HttpOptions
from g3m.adapters.http import Http
from g3m.adapters.hubs import list_repository
from g3m.core.digest import Digest
from g3m.core.errors import Changed, Interrupted, Missing, Refused, Throttled, Unreachable
from g3m.core.recipe import Listing
from g3m.core.resume import Answer
from g3m.core.secrets import Secret, Token
from g3m.lab.mischief import Cut, Gzip, Page, RedirectTo, Silence, Status
from g3m.lab.origin import Origin

COMMIT = "a" * 40
OID = "b" * 40
SHA = "c" * 64
BASE = f"http://hub/api/datasets/o/n/tree/{COMMIT}"


def _listing(include: str = "*.tar") -> Listing:
    return Listing(repository="o/n", revision=COMMIT, include=include)


def _nothing() -> None:
    """Nobody asks to stop."""


def _http(**options: Any) -> Http:
    return Http(HttpOptions(user_agent="test", stall_timeout_s=0.3, **options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven shards, a card and something in a folder."""
    (tmp_path / "hub" / "deep").mkdir(parents=True)
    for number in range(7):
        (tmp_path / "hub" / f"{number}.tar").write_bytes(b"shard %d" % number)
    (tmp_path / "hub" / "README.md").write_text("# card\n")
    (tmp_path / "hub" / "deep" / "x.txt").write_text("x")
    return tmp_path / "hub"


@pytest.fixture
def origin(folder: Path) -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_every_page_is_read(origin: Origin, folder: Path, page_size: int) -> None:
    """However the listing is cut into pages, it is whole, sorted, and every file is pinned."""
    origin.hub("o/n", COMMIT, folder, page_size=page_size)
    assets = list_repository(_http(), origin.url, "", _listing(), _nothing)
    assert [asset.name for asset in assets] == [f"{number}.tar" for number in range(7)]
    for number, asset in enumerate(assets):
        data = b"shard %d" % number
        assert asset.size_bytes == len(data)
        assert asset.digests == (Digest("sha256", hashlib.sha256(data).hexdigest()),)
        assert asset.places == (f"hub://o/n@{COMMIT}/{number}.tar",)


def test_small_files_have_gits_hash(origin: Origin, folder: Path) -> None:
    """A file outside LFS is pinned by its blob hash."""
    origin.hub("o/n", COMMIT, folder)
    (asset,) = list_repository(_http(), f"{origin.url}/", "", _listing("README.md"), _nothing)
    assert asset.digests == (Digest("git-sha1", hashlib.sha1(b"blob 7\0# card\n").hexdigest()),)


def test_a_private_repository_needs_its_token(origin: Origin, folder: Path) -> None:
    """Without the token it is refused by name; with it, on our host, it is listed."""
    origin.hub("o/n", COMMIT, folder, page_size=3, token="canary")
    with pytest.raises(Refused) as caught:
        list_repository(_http(), origin.url, "", _listing(), _nothing)
    assert caught.value.exit_code == 4
    assert "o/n" in caught.value.message
    host = origin.url.partition("://")[2]
    token = Token(Secret("Bearer canary"), frozenset([host]))
    assert len(list_repository(_http(tokens=[token]), origin.url, "", _listing(), _nothing)) == 7
    wrong = Token(Secret("Bearer other"), frozenset([host]))
    with pytest.raises(Refused):
        list_repository(_http(tokens=[wrong]), origin.url, "", _listing(), _nothing)


@pytest.mark.parametrize(
    ("mischief", "kind"),
    [
        (Status(404), Missing),
        (Status(429, retry_after=5), Throttled),
        (Status(500), Unreachable),
        (Page(), Changed),
        (Cut(5), Exception),
        (Silence(), Unreachable),
    ],
)
def test_a_hub_that_fails_is_a_named_error(
    origin: Origin, folder: Path, mischief: Any, kind: type[Exception]
) -> None:
    """Half a listing is never taken for a whole one."""
    origin.hub("o/n", COMMIT, folder)
    origin.mischief("/api/*", mischief, times=None)
    with pytest.raises(kind) as caught:
        list_repository(_http(), origin.url, "", _listing(), _nothing)
    assert hasattr(caught.value, "exit_code")


def test_the_second_page_may_fail_too(origin: Origin, folder: Path) -> None:
    """A listing that breaks in the middle is no listing."""
    origin.hub("o/n", COMMIT, folder, page_size=3)
    calls: list[int] = []

    def stopping() -> None:
        calls.append(1)
        if len(calls) == 2:
            origin.mischief("/api/*", Status(500), times=None)

    with pytest.raises(Unreachable):
        list_repository(_http(), origin.url, "", _listing(), stopping)


def test_a_stop_is_heard_between_pages(origin: Origin, folder: Path) -> None:
    """Ctrl-C does not wait for a hundred pages."""
    origin.hub("o/n", COMMIT, folder, page_size=1)

    def stopping() -> None:
        if len(origin.requests) == 2:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        list_repository(_http(), origin.url, "", _listing(), stopping)
    assert len(origin.requests) == 2


# Answers out of a script, for what the lab's hub would never say.


@dataclass
class _Body:
    answer: Answer
    content: bytes
    url: str = ""

    def chunks(self) -> Iterator[bytes]:
        yield self.content

    def read(self, limit_bytes: int = 0) -> bytes:
        return self.content


@dataclass
class _Hub:
    """Answers in order, the last one for ever; remembers what was asked."""

    pages: list[tuple[bytes, str]]
    asked: list[str] = field(default_factory=list)
    ways: list[str | None] = field(default_factory=list)

    @contextmanager
    def open(self, url: str, *, way: str | None = None) -> Iterator[_Body]:
        content, link = self.pages[min(len(self.asked), len(self.pages) - 1)]
        self.asked.append(url)
        self.ways.append(way)
        yield _Body(Answer(status=200, headers={"link": link} if link else {}), content)


def _file(path: Any = "0.tar", **changes: Any) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": 9, "oid": OID, **changes}


def _ask(*items: Any) -> Any:
    return list_repository(
        _Hub([(json.dumps(list(items)).encode(), "")]), "http://hub", "", _listing(), _nothing
    )


@pytest.mark.parametrize(
    "target",
    ["http://evil.test", "https://hub.evil", "//evil.test", "ftp://x", "", "http://[::1", "http://x:99999"],
)
def test_pages_are_followed_on_our_endpoint(target: str) -> None:
    """A Link to another host moves neither us nor our token: only its query is taken."""
    link = f'<{target}/api/elsewhere?recursive=true&cursor=c2>; rel="next"'
    hub = _Hub([(json.dumps([_file("0.tar")]).encode(), link), (json.dumps([_file("1.tar")]).encode(), "")])
    assets = list_repository(hub, "http://hub/", "", _listing(), _nothing)
    assert [asset.name for asset in assets] == ["0.tar", "1.tar"]
    assert hub.asked == [f"{BASE}?recursive=true", f"{BASE}?recursive=true&cursor=c2"]


def test_every_page_goes_the_chosen_way() -> None:
    """A listing that was begun over one proxy is not continued over another way."""
    link = '<http://hub/api/elsewhere?cursor=c2>; rel="next"'
    hub = _Hub([(b"[]", link), (b"[]", link), (b"[]", "")])
    assert list_repository(hub, "http://hub", "http://p:1", _listing(), _nothing) == ()
    assert hub.ways == ["http://p:1"] * 3


def test_pages_without_end_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that always has another page does not keep us for ever."""
    monkeypatch.setattr(hubs, "PAGE_LIMIT", 20)
    hub = _Hub([(b"[]", '<http://hub/?cursor=x>; rel="next"')])
    with pytest.raises(Changed, match="more than 20 pages"):
        list_repository(hub, "http://hub", "", _listing(), _nothing)
    assert len(hub.asked) == 20


def test_pages_without_measure_are_left(
    origin: Origin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pages together have a limit, however small each of them is."""
    origin.hub("o/n", COMMIT, folder, page_size=1)
    monkeypatch.setattr(hubs, "LISTING_LIMIT_BYTES", 500)
    with pytest.raises(Changed, match=r"more than \d+ bytes"):
        list_repository(_http(), origin.url, "", _listing(), _nothing)
    assert len(origin.requests) < 7


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b"{}",
        b"null",
        b"7",
        b'"[]"',
        b"[",
        b"\xff\xfe[]",
        b"[" * 100_000,
        b"[1e400" + b"0" * 10,
    ],
    ids=["empty", "html", "object", "null", "number", "text", "open", "bytes", "deep", "cut"],
)
def test_what_is_no_listing(body: bytes) -> None:
    """Anything but a JSON list is refused."""
    with pytest.raises(Changed):
        list_repository(_Hub([(body, "")]), "http://hub", "", _listing(), _nothing)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1},
        {"size": 1.5},
        {"size": "9"},
        {"size": None},
        {"size": True},
        {"size": 2**63},
        {"size": 10**400},
        {"oid": "zz" * 20},
        {"oid": OID[:-1]},
        {"oid": OID.upper()},
        {"oid": None},
        {"oid": 7},
        {"lfs": {}},
        {"lfs": {"oid": SHA}},
        {"lfs": {"oid": SHA, "size": -5}},
        {"lfs": {"oid": OID, "size": 5}},
        {"lfs": {"oid": f"sha256:{SHA}", "size": 5}},
        {"lfs": {"oid": [SHA], "size": 5}},
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_pinned(changes: dict[str, Any]) -> None:
    """A negative size, half a digest, a digest of another kind: refused with the entry's name."""
    with pytest.raises(Changed, match=r"0\.tar"):
        _ask(_file(**changes))


@pytest.mark.parametrize(
    "path",
    [
        "deep/0.tar",
        "../0.tar",
        "/etc/0.tar",
        "..tar",
        ".0.tar",
        "a\0.tar",
        "a\n.tar",
        "a\x1b[2J.tar",
        "\ud800.tar",
        "x" * 300 + ".tar",
    ],
    ids=ascii,
)
def test_a_path_that_is_no_plain_name(path: str) -> None:
    """What would lead out of the folder, or is no file name at all, is refused."""
    with pytest.raises(Changed):
        _ask(_file(path))


def test_one_name_twice() -> None:
    """Two files of one name would be two shards of one name."""
    with pytest.raises(Changed):
        _ask(_file(), _file(oid="d" * 40))


def test_what_is_no_file_is_passed_over() -> None:
    """Folders, unknown types, and entries of another shape are none of ours."""
    folder = {"type": "directory", "path": "x.tar", "oid": OID, "size": 0}
    assert _ask(folder, 7, None, "x", [], {}, _file(None), _file(7), _file("README.md")) == ()


def test_an_encoded_answer_is_refused(origin: Origin, folder: Path) -> None:
    """A proxy that compresses unasked is named."""
    (folder / "README.md").unlink()
    origin.mount("/api", folder)
    origin.mischief("/api/*", Gzip(), times=None)
    origin.mount(f"/api/datasets/o/n/tree/{COMMIT}", folder / "0.tar")
    with pytest.raises(Changed, match="gzip"):
        list_repository(_http(), origin.url, "", _listing(), _nothing)


def test_a_redirected_listing_gets_no_token(origin: Origin, folder: Path) -> None:
    """A hub that sends the listing elsewhere does not take the token there."""
    with Origin() as other:
        other.hub("o/n", COMMIT, folder)
        origin.mischief("/api/*", RedirectTo(other.url), times=None)
        token = Token(Secret("Bearer canary"), frozenset([origin.url.partition("://")[2]]))
        assert len(list_repository(_http(tokens=[token]), origin.url, "", _listing(), _nothing)) == 7
        assert "authorization" in origin.requests[0].headers
        assert not any("authorization" in request.headers for request in other.requests)
