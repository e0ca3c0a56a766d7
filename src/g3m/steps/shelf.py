"""A shelf: what a run needs of a bucket where others have a shared disk.

The run works in a folder of its own on this machine. Of each task, shard, table, statistics and index are
put into the bucket, and the receipt last, each by one PUT; the shard does not stay here. `pull` brings what
earlier runs and other machines have done, so that receipts say what is left, as ever.

Two machines may make the same shard at once. A receipt in the bucket therefore names size and tag of every
object that belongs to it, and counts only if these are there. Where a store knows conditions, the second
shard is not taken at all, and its machine takes over the receipt of the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TypeVar

from g3m.adapters.disk import Store, make_folder, read_document, remove, write_document
from g3m.adapters.objects import ObjectInfo, Objects, open_objects
from g3m.adapters.session import Session
from g3m.core.digest import of_bytes
from g3m.core.dropped import DROPPED
from g3m.core.errors import Missing, Replaced, SourceError
from g3m.core.lists import is_list
from g3m.core.retry import History, Policy, decide

PATIENCE = Policy(empty_attempts=8, throttled_attempts=12, first_wait_s=1.0, longest_wait_s=60.0)
OTHER_WAIT_S = 30.0
"""How long another machine may take from its shard to its receipt."""

_POLL_S = 2.0
_ROUNDS = 4
_PULLERS = 16
_LISTS_AT_ONCE = 4
_MANIFEST, _PLANS = "manifest.json", ".g3m/plan/"
_OBJECTS = "objects"
_RECEIPT, _INDEX = ".tar.json", ".index"

_NO_LIST = (
    "look at the address: a folder of lists (parquet, csv, tsv, json, jsonl, txt, also .gz), or one of them",
    "请检查地址：应为包含列表文件的目录，或单个列表文件（parquet、csv、tsv、json、jsonl、txt，可带 .gz）",
)

_Answer = TypeVar("_Answer")


class Shelf:
    """The objects of one dataset in a bucket, and the folder in which this machine works on it.

    Names are those of files below that folder, and of objects below the bucket's prefix. What a store
    refuses for a while is tried again here; for use by many threads.
    """

    def __init__(self, objects: Objects, session: Session) -> None:
        self._objects = objects
        self._session = session
        self._root = session.store.root
        self._lock = Lock()
        self._listed: dict[str, ObjectInfo] | None = None
        self._fresh: dict[str, ObjectInfo] = {}
        self._conditions = True

    def __repr__(self) -> str:
        return f"<g3m shelf at {self.address}>"

    @property
    def address(self) -> str:
        return self._objects.address

    def size_bytes(self, name: str) -> int | None:
        """The size of an object by the last listing and what was put since; None if it is not there."""
        if self._listed is None:
            self._list()
        with self._lock:
            found = (self._listed or {}).get(name)
        return None if found is None else found.size_bytes

    def pull(self, dataset: str) -> None:
        """Bring receipts, plans, manifest and record of the bucket here; drop what does not count there.

        Without a name, those of whatever is there.
        """
        group = self._session.store.receipt(dataset, "x").parent
        # What is written while the listing is made may be missing in it, and is left alone.
        before = [*group.glob(f"*{_RECEIPT}"), self._root / _MANIFEST, self._root / DROPPED]
        listed = self._list()
        receipts = f"{self._name(group)}/"
        plans = _PLANS + (f"{dataset}." if dataset else "")
        wanted = [
            found
            for name, found in listed.items()
            if name in (_MANIFEST, DROPPED)
            or name.startswith(plans)
            or (name.startswith(receipts) and name.endswith(".json"))
        ]
        with ThreadPoolExecutor(_PULLERS, "g3m-shelf") as pool:
            list(pool.map(self._bring, wanted))
        for path in before:
            if self._name(path) not in listed:
                remove(path)
        for path in group.glob(f"*{_RECEIPT}"):
            if self._name(path) in listed and not _holds(read_document(path) or "", listed):
                remove(path)

    def fetch(self, name: str) -> Path:
        """A file that was put, here again; Missing if it is not there."""
        if self.size_bytes(name) is None or self._listed is None:
            raise Missing(f"{self.address}/{name}: is not there")
        self._bring(self._listed[name])
        return self._root / name

    def place(self, names: Sequence[str]) -> None:
        """Put files of this folder into the bucket, in this order."""
        for name in names:
            self._note(self._again(lambda name=name: self._objects.put_file(name, self._root / name)))  # type: ignore[misc]

    def deliver(self, files: Mapping[str, Path], receipt: str, text: str) -> str:
        """Put what a task made, its shard first, and then the receipt; returns the receipt that counts.

        That is another one where another machine had made the same task before: then its files are there,
        and ours are not needed. Raises SourceError if the store does not take them after several attempts.
        """
        (shard, path), *others = files.items()
        known = (self._listed or {}).get(shard)
        over = known.tag if known else ""
        for _ in range(_ROUNDS):
            placed = self._put_shard(shard, path, over)
            if placed is not None:
                made = [placed]
                for name, other in others:
                    made.append(self._again(lambda n=name, o=other: self._objects.put_file(n, o)))  # type: ignore[misc]
                there = self._look(shard)
                if there is not None and there.tag == placed.tag:
                    break
            theirs = self._other_receipt(receipt, shard)
            if theirs is not None:
                return theirs
            there = self._look(shard)
            over = there.tag if there else ""
        else:
            raise Replaced(f"{self.address}/{shard}: other machines write it again and again")
        text = _with_objects(text, made)
        made.append(self._again(lambda: self._objects.put_bytes(receipt, text.encode())))
        self._note(*made)
        return text

    def _put_shard(self, name: str, path: Path, over: str) -> ObjectInfo | None:
        """Put a shard over the one that is known; None if another one is there by now."""
        if not self._conditions:
            return self._again(lambda: self._objects.put_file(name, path))
        try:
            return self._again(lambda: self._objects.put_file(name, path, over=over))
        except Replaced:
            # A connection that broke after the last byte leaves one's own shard there.
            there = self._look(name)
            same = there is not None and (there.size_bytes, there.tag) == (path.stat().st_size, _md5(path))
            return there if same else None
        except SourceError as error:
            if type(error) is not SourceError:
                raise
            self._conditions = False
            return self._again(lambda: self._objects.put_file(name, path))

    def _other_receipt(self, receipt: str, shard: str) -> str | None:
        """The receipt of the machine whose shard is there, as soon as it is; None if it does not come."""
        session = self._session
        end_s = session.monotonic() + OTHER_WAIT_S
        while True:
            there = self._look(shard)
            try:
                text = self._again(lambda: self._objects.get_bytes(receipt)).decode("utf-8", "replace")
            except Missing:
                text = ""
            if there is not None and _claims(text).get(shard) == (there.size_bytes, there.tag):
                self._note(there, *(ObjectInfo(name, *facts) for name, facts in _claims(text).items()))
                return text
            if session.monotonic() >= end_s:
                return None
            session.wait(_POLL_S)

    def _look(self, name: str) -> ObjectInfo | None:
        return self._again(lambda: self._objects.look(name))

    def _list(self) -> dict[str, ObjectInfo]:
        with self._lock:
            self._fresh = {}
        found = self._again(lambda: {item.name: item for item in self._objects.list()})
        with self._lock:
            self._listed = {**found, **self._fresh}
            return dict(self._listed)

    def _note(self, *placed: ObjectInfo) -> None:
        with self._lock:
            for item in placed:
                self._fresh[item.name] = item
                if self._listed is not None:
                    self._listed[item.name] = item

    def _bring(self, found: ObjectInfo) -> None:
        """Fetch a small file unless the same one is here."""
        path = self._root / found.name
        if path.is_file() and path.stat().st_size == found.size_bytes and _md5(path) == found.tag:
            return
        make_folder(path.parent)
        self._again(lambda: self._objects.get_file(found.name, path))
        if path.name.endswith(_RECEIPT):  # what lies beside an older receipt is not of this one
            remove(path.with_suffix(_INDEX))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _again(self, call: Callable[[], _Answer]) -> _Answer:
        return stubborn(call, self._session)


def shelved(address: str, session: Session, root: Path | None = None) -> Session:
    """The session in which a dataset is made in s3://BUCKET/PREFIX, working in a folder of this machine.

    The folder is `root`, else one below the session's root that belongs to the address. Raises UsageError if
    the address is none, or obstore is not installed; no request is made.
    """
    objects = open_objects(address, session.variables)
    name = objects.address.rpartition("/")[2]  # what a dataset is called that is made there
    folder = root or Path(session.settings.root) / ".g3m" / "shelf" / _folder_name(objects) / name
    bare = replace(session, store=Store(folder), shelf=None)
    return replace(bare, shelf=Shelf(objects, bare))


def fetch_lists(address: str, session: Session) -> list[Path]:
    """The lists at an address of a bucket, a file or a folder of them, fetched below the root; by name.

    What is here already with the size and the tag of the object stays. Raises Missing if there is no list.
    """
    objects = open_objects(address, session.variables)
    folder = session.store.work / "lists" / _folder_name(objects)
    found = stubborn(lambda: [item for item in objects.list() if _is_shown_list(item.name)], session)
    if not found and objects.bucket.prefix:  # the address may be that of one file
        above, _, name = objects.address.rpartition("/")
        objects = open_objects(above, session.variables)
        single = stubborn(lambda: objects.look(name), session)
        found = [] if single is None else [single]
    if not found:
        raise Missing(f"{address}: there is no list", hint=_NO_LIST)

    def bring(item: ObjectInfo) -> Path:
        path = folder / item.name
        mark = path.with_name(f".{path.name}.tag")  # the digest of a large file would be read each time
        if not path.is_file() or (path.stat().st_size, read_document(mark)) != (item.size_bytes, item.tag):
            make_folder(path.parent)
            stubborn(lambda: objects.get_file(item.name, path), session)
            write_document(mark, item.tag)
        return path

    with ThreadPoolExecutor(_LISTS_AT_ONCE, "g3m-shelf") as pool:
        return list(pool.map(bring, sorted(found, key=lambda item: item.name)))


def _is_shown_list(name: str) -> bool:
    *folders, file = name.split("/")
    return is_list(file) and not any(folder.startswith((".", "_")) for folder in folders)


def stubborn(call: Callable[[], _Answer], session: Session) -> _Answer:
    """The answer of a call to a store, which may be tried again while that is of use."""
    history = History()
    while True:
        session.check_stop()
        try:
            return call()
        except SourceError as error:
            history = history.after(error, 0)
            verdict = decide(PATIENCE, error, history, session.jitter())
            if verdict.action == "drop":
                raise
            session.wait(verdict.wait_s)


def _folder_name(objects: Objects) -> str:
    digest = of_bytes(f"{objects.how.endpoint} {objects.address}".encode()).hex
    return f"{objects.bucket.name}-{digest[:8]}"


def _with_objects(text: str, made: Sequence[ObjectInfo]) -> str:
    """A receipt that also names the objects that belong to it."""
    body = json.loads(text)
    body[_OBJECTS] = {item.name: [item.size_bytes, item.tag] for item in made}
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _claims(text: str) -> dict[str, tuple[int, str]]:
    """The objects that a receipt names, with size and tag; none if it is no receipt of a shelf."""
    try:
        return {name: (int(size), str(tag)) for name, (size, tag) in json.loads(text)[_OBJECTS].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _holds(text: str, listed: Mapping[str, ObjectInfo]) -> bool:
    """Whether a receipt's objects are there as it says."""
    claims = _claims(text)
    return bool(claims) and all(
        name in listed and (listed[name].size_bytes, listed[name].tag) == facts
        for name, facts in claims.items()
    )


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
