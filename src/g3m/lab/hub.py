"""A dataset repository as the Hugging Face Hub serves it: revisions, listings in pages, resolve.

Tars are LFS objects: `resolve` redirects to a signed link on the storage host and states size and
sha256; other files are answered directly, with git's blob hash as their ETag.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from g3m.lab.files import content_type, digest_of
from g3m.lab.messages import Asked, Headers, Reply, Resource, json_reply, redirect, text_reply
from g3m.lab.storage import Storage

COMMIT = re.compile(r"[0-9a-f]{40}")
LFS_SUFFIXES = (".tar",)
FIRST_CURSOR = "MA=="  # a cursor is the number of entries before it, in base64: here 0


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the commit; `sha256` is set for LFS objects, whose `oid` is their pointer's."""

    path: str
    local: Path
    size_bytes: int
    oid: str
    sha256: str | None
    pointer_bytes: int

    def listed(self) -> dict[str, object]:
        """The file's entry in a tree listing."""
        entry: dict[str, object] = {
            "type": "file",
            "oid": self.oid,
            "size": self.size_bytes,
            "path": self.path,
        }
        if self.sha256 is not None:
            size = {"size": self.size_bytes, "pointerSize": self.pointer_bytes}
            entry["lfs"] = {"oid": self.sha256, **size}
        return entry


@dataclass(frozen=True, slots=True)
class Repository:
    """What to serve: a folder as `namespace/name` at a revision; private if there is a token."""

    name: str
    revision: str
    folder: Path
    page_size: int
    token: str | None


class Hub:
    """One repository at one commit, taken from its folder at the time of making."""

    def __init__(self, repository: Repository, storage: Storage) -> None:
        revision, folder = repository.revision, repository.folder
        self._repository = repository.name
        self._page_size = repository.page_size
        self._token = repository.token
        self._storage = storage
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = [_describe(path, path.relative_to(folder).as_posix()) for path in paths]
        self._files = {file.path: file for file in files}
        is_commit = COMMIT.fullmatch(revision) is not None
        tree = "".join(f"{file.oid} {file.path}\n" for file in files)
        self._commit = revision if is_commit else hashlib.sha1(tree.encode()).hexdigest()
        self._revisions = {"main", revision, self._commit}
        for file in files:
            if file.sha256 is not None:
                resource = self._resource(file, f'"{file.sha256}"')
                storage.publish(self._storage_path(file), "Amz", resource)

    def find(self, asked: Asked) -> Resource | Reply | None:
        """Answer what concerns this repository, None for anything else."""
        name = re.escape(self._repository)
        api = rf"/api/datasets/{name}/(?P<call>revision|tree)/(?P<revision>[^/]+)"
        file = rf"/datasets/{name}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
        call, resolve = re.fullmatch(api, asked.path), re.fullmatch(file, asked.path)
        either = call or resolve
        if either is None:
            return None
        if not self._is_allowed(asked):
            message = "Invalid username or password."
            return json_reply(401, {"error": message}, (("X-Error-Message", message),))
        revision = either["revision"]
        if revision not in self._revisions:
            message = f"Invalid rev id: {revision}"
            return json_reply(404, {"error": message}, (("X-Error-Code", "RevisionNotFound"),))
        if resolve is not None:
            return self._resolve(resolve["path"])
        if either["call"] == "tree":
            return self._tree(asked, revision)
        return json_reply(200, {"id": self._repository, "sha": self._commit})

    def _is_allowed(self, asked: Asked) -> bool:
        if self._token is None:
            return True
        given = asked.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode())

    def _tree(self, asked: Asked, revision: str) -> Reply:
        """One page of the listing, and in `Link` where the next one is."""
        query = dict(parse_qsl(asked.query))
        entries = self._entries(recursive=query.get("recursive", "").lower() in ("true", "1"))
        try:
            first = int(base64.urlsafe_b64decode(query.get("cursor", FIRST_CURSOR)))
            size = max(1, min(int(query.get("limit", self._page_size)), self._page_size))
        except (ValueError, binascii.Error):
            return json_reply(400, {"error": "Invalid cursor or limit"})
        page = entries[first : first + size]
        headers: Headers = ()
        if first + size < len(entries):
            query["cursor"] = base64.urlsafe_b64encode(str(first + size).encode()).decode()
            path = f"/api/datasets/{self._repository}/tree/{revision}?{urlencode(query)}"
            headers = (("Link", f'<http://{asked.headers.get("host", "")}{path}>; rel="next"'),)
        return json_reply(200, page, headers)

    def _entries(self, *, recursive: bool) -> list[dict[str, object]]:
        """Folders and files by path; without `recursive` only what stands at the top."""
        folders = {str(parent) for path in self._files for parent in Path(path).parents} - {"."}
        entries = [file.listed() for file in self._files.values()]
        for folder in folders:
            oid = hashlib.sha1(folder.encode()).hexdigest()
            entries.append({"type": "directory", "oid": oid, "size": 0, "path": folder})
        entries.sort(key=lambda entry: str(entry["path"]))
        return [entry for entry in entries if recursive or "/" not in str(entry["path"])]

    def _resolve(self, path: str) -> Resource | Reply:
        file = self._files.get(path)
        commit = ("X-Repo-Commit", self._commit)
        if file is None:
            headers = (("X-Error-Code", "EntryNotFound"), commit)
            return text_reply(404, "Entry not found", "text/plain; charset=utf-8", headers)
        if file.sha256 is None:
            return self._resource(file, f'"{file.oid}"', (commit,))
        size = ("X-Linked-Size", str(file.size_bytes))
        etag = ("X-Linked-Etag", f'"{file.sha256}"')
        link = self._storage.link(self._storage_path(file))
        return redirect(302, link, (commit, size, etag))

    def _storage_path(self, file: _File) -> str:
        """Where the object lies; the real path is hashes only, this one can be matched by name."""
        return f"/xet-bridge-us/{self._repository}/{file.sha256}/{file.path}"

    def _resource(self, file: _File, etag: str, headers: Headers = ()) -> Resource:
        modified_s = file.local.stat().st_mtime
        headers = (content_type(file.path), *headers)
        return Resource(file.local, file.size_bytes, etag, modified_s, headers)


def _describe(local: Path, path: str) -> _File:
    """Hash a file as git, or git-lfs, does."""
    size_bytes = local.stat().st_size
    if not path.endswith(LFS_SUFFIXES):
        return _File(path, local, size_bytes, _blob_hash(local.read_bytes()), None, 0)
    sha256 = digest_of(local, "sha256").hex()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size_bytes}\n"
    return _File(path, local, size_bytes, _blob_hash(pointer.encode()), sha256, len(pointer))


def _blob_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
