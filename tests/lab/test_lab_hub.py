"""The hub: revisions, listings in pages, redirects to signed storage, private repositories."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from g3m.lab.origin import Origin
from g3m.lab.sources import Cc3m, cc3m

REPOSITORY = "pixparse/cc3m-wds"
COMMIT = "46f3d69f840e59d77d52e8decfe5baec97e94c7f"
NOTE_BLOB_HASH = hashlib.sha1(b"blob 7\0a note\n").hexdigest()
Fetch = Callable[..., Any]


@pytest.fixture
def drawn(tmp_path: Path) -> Cc3m:
    """A drawn repository of three shards and two small files, one of them in a folder."""
    drawn = cc3m(tmp_path / "cc3m", 2, 1, 4)
    (drawn.folder / "docs").mkdir()
    (drawn.folder / "docs" / "note.txt").write_text("a note\n")
    return drawn


@pytest.fixture
def api(origin: Origin, drawn: Cc3m) -> str:
    """The repository's address in the API."""
    origin.hub(REPOSITORY, COMMIT, drawn.folder, page_size=3)
    return f"{origin.url}/api/datasets/{REPOSITORY}"


def test_a_revision_is_a_commit(api: str) -> None:
    """The branch and the commit both name the commit; nothing else is a revision."""
    for revision in ("main", COMMIT):
        answer = requests.get(f"{api}/revision/{revision}", timeout=30)
        assert answer.json()["sha"] == COMMIT
    missing = requests.get(f"{api}/revision/dev", timeout=30)
    assert (missing.status_code, missing.headers["X-Error-Code"]) == (404, "RevisionNotFound")


def test_a_named_revision_gets_a_commit_from_its_content(origin: Origin, drawn: Cc3m) -> None:
    """Without a given commit there is one of 40 digits, which changes when a file changes."""
    commits = []
    for text in ("one", "two"):
        (drawn.folder / "README.md").write_text(text)
        origin.hub("ns/name", "v1.0", drawn.folder)
        url = f"{origin.url}/api/datasets/ns/name/revision/"
        commits.append(requests.get(f"{url}v1.0", timeout=30).json()["sha"])
        assert requests.get(f"{url}{commits[-1]}", timeout=30).status_code == 200
    assert commits[0] != commits[1]
    assert all(len(commit) == 40 for commit in commits)


def test_the_listing_comes_in_pages(api: str) -> None:
    """Followed by `Link`, the pages give every file once, and the last page has no `Link`."""
    url: str | None = f"{api}/tree/{COMMIT}?recursive=true"
    pages = []
    while url is not None:
        answer = requests.get(url, timeout=30)
        pages.append(answer.json())
        url = answer.links.get("next", {}).get("url")
    assert [len(page) for page in pages] == [3, 3, 1]
    entries = {entry["path"]: entry for page in pages for entry in page}
    assert sorted(entries) == [
        "README.md",
        "_info.json",
        "cc3m-train-0000.tar",
        "cc3m-train-0001.tar",
        "cc3m-validation-0000.tar",
        "docs",
        "docs/note.txt",
    ]
    assert entries["docs"]["type"] == "directory"


def test_listed_digests_are_those_of_the_files(origin: Origin, api: str, drawn: Cc3m) -> None:
    """Tars have size and sha256 in `lfs`; small files have git's blob hash only."""
    origin.hub(REPOSITORY, COMMIT, drawn.folder)
    listing = requests.get(f"{api}/tree/main?recursive=true", timeout=30).json()
    entries = {entry["path"]: entry for entry in listing}
    content = drawn.train[0].read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    lfs = entries["cc3m-train-0000.tar"]["lfs"]
    assert (lfs["oid"], lfs["size"]) == (sha256, len(content))
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n"
    assert lfs["pointerSize"] == len(pointer)
    assert "lfs" not in entries["README.md"]
    note = entries["docs/note.txt"]
    assert (note["oid"], note["size"]) == (NOTE_BLOB_HASH, 7)


def test_without_recursive_only_the_top_is_listed(api: str) -> None:
    """Files in folders come with `recursive` only; a bad cursor is refused."""
    listing = requests.get(f"{api}/tree/main?limit=2", timeout=30).json()
    assert [entry["path"] for entry in listing] == ["README.md", "_info.json"]
    assert requests.get(f"{api}/tree/main?cursor=%ff", timeout=30).status_code == 400


@pytest.mark.usefixtures("api")
def test_a_small_file_is_answered_directly(origin: Origin, fetch: Fetch) -> None:
    """Its ETag is git's blob hash, and ranges work."""
    url = f"{origin.url}/datasets/{REPOSITORY}/resolve/{COMMIT}/docs/note.txt"
    answer = fetch(url, Range="bytes=2-5")
    assert (answer.status, answer.body) == (206, b"note")
    assert answer.headers["etag"] == f'"{NOTE_BLOB_HASH}"'
    assert answer.headers["x-repo-commit"] == COMMIT
    missing = fetch(f"{origin.url}/datasets/{REPOSITORY}/resolve/{COMMIT}/none.tar")
    assert (missing.status, missing.headers["x-error-code"]) == (404, "EntryNotFound")


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_tar_is_on_the_other_host(origin: Origin, drawn: Cc3m, fetch: Fetch, method: str) -> None:
    """`resolve` states size and sha256, and redirects to a signed link that serves ranges."""
    content = drawn.train[0].read_bytes()
    url = f"{origin.url}/datasets/{REPOSITORY}/resolve/{COMMIT}/cc3m-train-0000.tar"
    answer = fetch(url, method=method)
    assert answer.status == 302
    assert answer.headers["x-linked-size"] == str(len(content))
    assert answer.headers["x-linked-etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    location = answer.headers["location"]
    assert location.startswith(f"{origin.storage_url}/xet-bridge-us/")
    assert all(f"X-Amz-{name}=" in location for name in ("Date", "Expires", "Signature"))
    part = fetch(location, Range="bytes=-100")
    assert (part.status, part.body) == (206, content[-100:])
    assert origin.requests[-1].listener == "storage"


@pytest.mark.usefixtures("api")
def test_signed_links_expire(origin: Origin, fetch: Fetch) -> None:
    """After its life a link gets 403, and a new one can be had."""
    url = f"{origin.url}/datasets/{REPOSITORY}/resolve/main/cc3m-train-0000.tar"
    old = fetch(url).headers["location"]
    assert fetch(old).status == 200
    origin.expire_links()
    expired = fetch(old)
    assert expired.status == 403
    assert b"expired" in expired.body
    assert fetch(fetch(url).headers["location"]).status == 200


@pytest.mark.usefixtures("api")
def test_forged_links_are_refused(origin: Origin, fetch: Fetch) -> None:
    """No signature, a wrong one, another path or a longer life: 403 each."""
    base = f"{origin.url}/datasets/{REPOSITORY}/resolve/main"
    link = fetch(f"{base}/cc3m-train-0000.tar").headers["location"]
    other = fetch(f"{base}/cc3m-train-0001.tar").headers["location"]
    for forged in (
        link.partition("?")[0],
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        f"{other.partition('?')[0]}?{link.partition('?')[2]}",
        link.replace("X-Amz-Expires=3600", "X-Amz-Expires=9999"),
        f"{origin.storage_url}/nothing",
    ):
        assert fetch(forged).status == 403


@pytest.mark.usefixtures("api")
def test_storage_refuses_a_token(origin: Origin, fetch: Fetch) -> None:
    """A client that carries its token across the redirect gets 400, and is in the record."""
    url = f"{origin.url}/datasets/{REPOSITORY}/resolve/main/cc3m-train-0000.tar"
    link = fetch(url, Authorization="Bearer secret").headers["location"]
    assert fetch(link, Authorization="Bearer secret").status == 400
    leaks = [one for one in origin.requests if "authorization" in one.headers]
    assert [one.listener for one in leaks] == ["site", "storage"]


def test_a_private_repository_wants_its_token(origin: Origin, drawn: Cc3m) -> None:
    """Every call is 401 without the token; with it, requests drops it at the other host."""
    origin.hub("me/private", "main", drawn.folder, token="hf_right")
    api, site = f"{origin.url}/api/datasets/me/private", f"{origin.url}/datasets/me/private"
    urls = [
        f"{api}/revision/main",
        f"{api}/tree/main?recursive=true",
        f"{site}/resolve/main/README.md",
        f"{site}/resolve/main/cc3m-train-0000.tar",
    ]
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer hf_wrong"}, 401),
        ({"Authorization": "Bearer hf_right"}, 200),
    ):
        assert [requests.get(url, headers=headers, timeout=30).status_code for url in urls] == ([status] * 4)
    assert all("authorization" not in one.headers for one in origin.requests if one.listener == "storage")
