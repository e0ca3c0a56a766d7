"""The local internet: one site that plays every host, and a second one that plays signed storage.

    with Origin() as origin:
        origin.mount("/images.cocodataset.org/zips", folder)
        origin.mischief("*/val2017.zip", Cut(after_bytes=1000))
        requests.get(f"{origin.url}/images.cocodataset.org/zips/val2017.zip")
        assert origin.requests[0].mischief == "Cut"

Both listen on 127.0.0.1 at a free port. Without mischief they are honest: validators, conditions
and single ranges as in RFC 9110, files streamed, nothing compressed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from g3m.lab.exchange import Exchange, Mischief, Script
from g3m.lab.files import Digests, google_resource, s3_resource, serve
from g3m.lab.hub import Hub, Repository
from g3m.lab.kaggle import Account, Kaggle
from g3m.lab.messages import Asked, Reply, Request, Resource, text_reply, xml_error
from g3m.lab.record import Record
from g3m.lab.server import Listener
from g3m.lab.storage import Storage

__all__ = ["Origin", "Request"]

METHOD_NOT_ALLOWED = text_reply(
    405, "Method not allowed\n", "text/plain; charset=utf-8", (("Allow", "GET, HEAD"),)
)


@dataclass(frozen=True, slots=True)
class _Mount:
    """A file at a path, or a folder's files below it, with what `Origin.mount` was told."""

    prefix: str
    local: Path
    google: bool
    part_bytes: int | None

    def find(self, path: str, digests: Digests) -> Resource | None:
        """The file for a path of the site, or None; never one outside the folder."""
        if path != self.prefix and not path.startswith(f"{self.prefix}/"):
            return None
        inside = path[len(self.prefix) + 1 :]
        file = self.local / inside if inside else self.local
        if "\0" in inside or not file.is_file():
            return None
        if not file.resolve().is_relative_to(self.local.resolve()):
            return None
        if self.google:
            return google_resource(file, digests)
        return s3_resource(file, digests, self.part_bytes)


class Origin:
    """A context manager: two listeners, what they serve, what goes wrong, and what was asked.

    Everything may be set up before or after entering, from any thread.
    """

    def __init__(self, port: int = 0, link_life_s: int = 3600) -> None:
        """`port` 0 takes a free one; signed links live `link_life_s` (see `expire_links`)."""
        self._port = port
        self._link_life_s = link_life_s
        self._storage = Storage(link_life_s)
        self._digests = Digests()
        self._script = Script()
        self._record = Record()
        self._lock = threading.Lock()
        self._mounts: dict[str, _Mount] = {}
        self._apis: dict[str, Hub | Kaggle] = {}
        self._listeners: list[Listener] = []

    def __enter__(self) -> Origin:
        if self._listeners:
            raise RuntimeError("this origin is already up")
        self._listeners = [Listener("site", self._answer, self._record, self._port)]
        try:
            self._listeners.append(Listener("storage", self._answer, self._record))
        except OSError:
            self._listeners.pop().server_close()
            raise
        self._storage.url = self.storage_url
        for listener in self._listeners:
            listener.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._listeners:
            self._listeners.pop().stop()

    @property
    def url(self) -> str:
        """The site, `http://127.0.0.1:PORT`: hub API, Kaggle API and everything mounted."""
        return self._listener(0).url

    @property
    def storage_url(self) -> str:
        """The other host, which answers signed links only."""
        return self._listener(1).url

    @property
    def requests(self) -> list[Request]:
        """Every request to either host, in the order of arrival: a snapshot."""
        return self._record.requests()

    def forget_requests(self) -> None:
        """Empty the record."""
        self._record.clear()

    def mount(self, prefix: str, path: Path, *, google: bool = False, part_bytes: int | None = None) -> None:
        """Serve a file at a path, or a folder's files below it.

        `google` adds `x-goog-hash: md5=...`; `part_bytes` gives files the ETag that S3 gives to
        uploads in parts of that size (COCO's have such), which is not their MD5.
        """
        prefix = f"/{prefix.strip('/')}".rstrip("/")
        with self._lock:
            self._mounts[prefix] = _Mount(prefix, path, google, part_bytes)

    def hub(
        self,
        repository: str,
        revision: str,
        folder: Path,
        page_size: int = 1000,
        token: str | None = None,
    ) -> None:
        """Serve a folder as the hub dataset `namespace/name`, with its files as they are now.

        `revision` is its commit if it has 40 hex digits, else a name for a commit derived from the
        content; `main` always works. With `token` it is private. A second call makes a new commit.
        """
        hub = Hub(Repository(repository, revision, folder, page_size, token), self._storage)
        with self._lock:
            self._apis[f"hub {repository}"] = hub

    def kaggle(self, owner_slug: str, file: Path, username: str, key: str, token: str | None = None) -> None:
        """Serve a file as the download of Kaggle's `owner/slug`, for that account only."""
        kaggle = Kaggle(owner_slug, file, Account(username, key, token), self._storage)
        with self._lock:
            self._apis[f"kaggle {owner_slug}"] = kaggle

    def mischief(
        self,
        path_pattern: str,
        mischief: Mischief,
        times: int | None = 1,
        method: str | None = None,
    ) -> None:
        """Spoil the next `times` answers (None: all) for paths that match, on both hosts.

        The pattern is a shell pattern (`*` crosses slashes) on the decoded path without query.
        Entries are tried in the order they were given; one that has no hold on an answer is not
        used up by it.
        """
        self._script.add(path_pattern, mischief, times, method)

    def be_honest(self) -> None:
        """Forget all mischief that is left."""
        self._script.clear()

    def expire_links(self) -> None:
        """Let time pass on the storage host, so that every link signed until now has expired."""
        self._storage.advance(self._link_life_s + 1)

    def _listener(self, place: int) -> Listener:
        if not self._listeners:
            raise RuntimeError("the origin has no address outside its `with` block")
        return self._listeners[place]

    def _answer(self, asked: Asked) -> Reply:
        """The answer for one request: honest first, then through the script."""
        if asked.method not in ("GET", "HEAD"):
            found: Resource | Reply = METHOD_NOT_ALLOWED
        elif asked.listener == "storage":
            found = self._storage.find(asked)
        else:
            found = self._find(asked)
        if isinstance(found, Resource):
            return self._script.apply(Exchange(asked, found, serve(asked, found)))
        return self._script.apply(Exchange(asked, None, found))

    def _find(self, asked: Asked) -> Resource | Reply:
        """What the site has at a path: an API's answer, a mounted file, or S3's 404."""
        with self._lock:
            apis = list(self._apis.values())
            mounts = sorted(self._mounts.values(), key=lambda mount: -len(mount.prefix))
        for api in apis:
            answer = api.find(asked)
            if answer is not None:
                return answer
        for mount in mounts:
            resource = mount.find(asked.path, self._digests)
            if resource is not None:
                return resource
        return xml_error(404, "NoSuchKey", "The specified key does not exist.")
