"""The objects of an S3-compatible bucket below a prefix, over obstore (extra `objects`).

Here: credentials and endpoint as they are found on this machine, one request for each call, and foreign
errors mapped. Nothing is tried twice here; whoever wants that waits and calls again. An object is written
by one PUT, so it is there whole or not at all. What obstore says is not shown: it may quote an answer.
"""

from __future__ import annotations

import configparser
import contextlib
import importlib
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g3m.adapters import fsio
from g3m.core.buckets import Access, Bucket, access, is_plain, parse_bucket
from g3m.core.errors import (
    Changed,
    G3MError,
    Missing,
    NoSpace,
    Refused,
    Replaced,
    SourceError,
    StorageError,
    Throttled,
    Truncated,
    Unreachable,
    UsageError,
    storage_error,
)

LARGEST_PUT_BYTES = 5 * 2**30
"""What S3 takes in one PUT."""

REQUEST_TIMEOUT_S = 60
SLOWEST_BYTES_PER_S = 100_000
"""A file may take as long as this rate needs, and the time of a request on top."""

_CONNECT_TIMEOUT = "15s"
_CHUNK_BYTES = 2**20
_STATUS = re.compile(r"status code: (\d{3})")
_KIND = re.compile(r"<Code>([A-Za-z0-9._-]{1,60})</Code>")
_VENDOR = Path("/sys/class/dmi/id/board_vendor")

_INSTALL = ("run: pip install 'g3m[objects]'", "请运行 pip install 'g3m[objects]'")
_KEYS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) to keys that may do this in the bucket",
    "请设置 AWS_ACCESS_KEY_ID 和 AWS_SECRET_ACCESS_KEY（或 AWS_PROFILE），并确认其拥有该桶的相应权限",
)
_BUCKET = (
    "look at the name of the bucket, and at AWS_ENDPOINT_URL and AWS_REGION; the bucket must exist already",
    "请检查桶名以及 AWS_ENDPOINT_URL 和 AWS_REGION；桶须已存在",
)
_ENDPOINT = (
    "look at AWS_ENDPOINT_URL, AWS_REGION and the network, then run the same command again: it continues",
    "请检查 AWS_ENDPOINT_URL、AWS_REGION 和网络，然后重新运行同一命令即可继续",
)
_FULL = (
    "make room in the bucket or raise its quota, then run the same command again",
    "请清理该桶或提高配额，然后重新运行同一命令",
)
_TOO_BIG = (
    "make smaller shards: fewer rows to a task, or --image-size",
    "请减小分片：减少每个任务的行数，或使用 --image-size",
)
_NO_CONDITION = ("NotImplemented", "InvalidArgument", "NotSupported")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object: `tag` tells this version from another (its ETag without quotes)."""

    name: str
    size_bytes: int
    tag: str = ""


class Objects:
    """The objects below a prefix; for use by many threads at once.

    Names are relative to the prefix. Raises Refused, Missing, Throttled, Unreachable, NoSpace, Changed.
    """

    def __init__(self, bucket: Bucket, how: Access, certificates: Path | None = None) -> None:
        self.bucket = bucket
        self.how = how
        self._certificates = certificates
        self._api = _obstore()
        self._store = self._open(REQUEST_TIMEOUT_S)

    def __repr__(self) -> str:
        return f"<g3m objects of {self.bucket.address}>"

    @property
    def address(self) -> str:
        return self.bucket.address

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects below a folder of the prefix, or all; a request for each thousand.

        A name that could lead out of a folder on the disk is passed over.
        """
        with self._told(prefix or "/"):
            for page in self._api.list(self._store, prefix=prefix.strip("/") or None, chunk_size=1000):
                for item in page:
                    if is_plain(item["path"]):
                        yield ObjectInfo(item["path"], item["size"], _tag(item["e_tag"]))

    def look(self, name: str) -> ObjectInfo | None:
        """Size and tag of an object, or None if it is not there."""
        try:
            with self._told(name):
                item = self._api.head(self._store, name)
        except Missing:
            return None
        return ObjectInfo(name, item["size"], _tag(item["e_tag"]))

    def size(self, name: str) -> int:
        """The size of an object in bytes; Missing if it is not there."""
        found = self.look(name)
        if found is None:
            raise Missing(f"{self.address}/{name}: is not there", hint=_BUCKET)
        return found.size_bytes

    def get_bytes(self, name: str) -> bytes:
        """A small object whole."""
        with self._told(name):
            return bytes(self._api.get(self._store, name).bytes())

    def get_file(self, name: str, path: Path) -> ObjectInfo:
        """Fetch an object into a file, which appears when it is whole."""
        found = self.look(name)
        if found is None:
            raise Missing(f"{self.address}/{name}: is not there", hint=_BUCKET)
        store = self._open(_patience_s(found.size_bytes))
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
        try:
            with fsio.writing(temporary) as file, self._told(name):
                answer = self._api.get(store, name)
                tag = _tag(answer.meta["e_tag"])
                file.writelines(answer.stream(min_chunk_size=_CHUNK_BYTES))
                came_bytes = file.tell()
            if came_bytes != found.size_bytes or tag != found.tag:
                raise Truncated(f"{self.address}/{name}: {came_bytes} of {found.size_bytes} bytes came")
            fsio.rename(temporary, path)
        except OSError as error:
            raise storage_error(error, path) from error
        finally:
            with contextlib.suppress(OSError):
                fsio.unlink(temporary)
        return found

    def put_bytes(self, name: str, data: bytes, *, over: str | None = None) -> ObjectInfo:
        """Write a small object by one PUT; `over` as for `put_file`."""
        return self._put(self._store, name, data, over)

    def put_file(self, name: str, path: Path, *, over: str | None = None) -> ObjectInfo:
        """Write a file as one object by one PUT, without a copy of it in memory.

        `over` is the tag of the object that may be replaced, "" for none; None: whatever is there. Raises
        Replaced if something else is there.
        Its digest is part of a signed request, so that a store refuses other bytes.
        """
        try:
            with open(path, "rb") as file:
                size_bytes = os.fstat(file.fileno()).st_size
                if size_bytes > LARGEST_PUT_BYTES:
                    words = f"{path}: {size_bytes} bytes, one PUT takes {LARGEST_PUT_BYTES}"
                    raise StorageError(words, hint=_TOO_BIG)
                if not size_bytes:  # nothing can be mapped
                    return self._put(self._store, name, b"", over)
                # Not closed here: after a failure obstore may hold it a moment longer.
                content = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
                return self._put(self._open(_patience_s(size_bytes)), name, content, over)
        except OSError as error:
            raise storage_error(error, path) from error

    def remove(self, name: str) -> None:
        """Delete an object; nothing happens if it is not there."""
        with contextlib.suppress(Missing), self._told(name):
            self._api.delete(self._store, name)

    def _put(self, store: Any, name: str, data: bytes | mmap.mmap, over: str | None) -> ObjectInfo:
        mode: Any = None if over is None else {"e_tag": f'"{over}"'} if over else "create"
        with self._told(name):
            answer = self._api.put(store, name, data, mode=mode, use_multipart=False)
        return ObjectInfo(name, len(data), _tag(answer["e_tag"]))

    def _open(self, timeout_s: int) -> Any:
        """A client whose requests may take so long: obstore counts a body's time, too."""
        how = self.how
        config: dict[str, Any] = {"region": how.region, "disable_bulk_delete": True}
        for key, secret in (
            ("access_key_id", how.key_id),
            ("secret_access_key", how.secret),
            ("session_token", how.token),
        ):
            if secret is not None:
                config[key] = secret.reveal()
        if not how.signed:
            config["skip_signature"] = True
        if how.endpoint:
            config |= {"endpoint": how.endpoint, "virtual_hosted_style_request": how.virtual_host}
        client: dict[str, Any] = {"timeout": f"{timeout_s}s", "connect_timeout": _CONNECT_TIMEOUT}
        if how.plain_http:
            client["allow_http"] = True
        if self._certificates is not None:
            client["root_certificate"] = self._certificates.read_bytes()
        prefix = self.bucket.prefix or None
        store = importlib.import_module("obstore.store").S3Store
        with self._told("/"):
            return store(
                self.bucket.name,
                prefix=prefix,
                config=config,
                client_options=client,
                retry_config={"max_retries": 0},
            )

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Whatever obstore raises inside, in the words of this program."""
        try:
            yield
        except (self._api.exceptions.BaseError, FileNotFoundError, NotImplementedError) as error:
            raise _mapped(f"{self.address}/{name}".removesuffix("//"), error) from None


def open_objects(address: str, variables: Mapping[str, str]) -> Objects:
    """The objects below s3://BUCKET/PREFIX, with the credentials and the endpoint of this machine.

    Raises UsageError if the address is none, or obstore is not installed; nothing is asked yet.
    """
    bucket = parse_bucket(address)
    bundle = variables.get("AWS_CA_BUNDLE") or variables.get("SSL_CERT_FILE")
    certificates = Path(bundle) if bundle and Path(bundle).is_file() else None
    how = access(bucket, variables, _profile(variables), host_role=_on_aws())
    return Objects(bucket, how, certificates)


def _obstore() -> Any:
    try:
        importlib.import_module("obstore.exceptions")
        return importlib.import_module("obstore")
    except ImportError:
        raise UsageError("an address s3://... needs obstore, which is not installed", hint=_INSTALL) from None


def _profile(variables: Mapping[str, str]) -> dict[str, str]:
    """What the shared files of the AWS tools say of the profile in force; nothing if there are none."""
    name = variables.get("AWS_PROFILE") or variables.get("AWS_DEFAULT_PROFILE") or "default"
    home = Path(variables.get("HOME") or Path.home()) / ".aws"
    keys = Path(variables.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials").expanduser()
    rest = Path(variables.get("AWS_CONFIG_FILE") or home / "config").expanduser()
    found: dict[str, str] = {}
    for path, section in ((rest, name if name == "default" else f"profile {name}"), (keys, name)):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            raise UsageError(f"{path}: cannot be read as a file of AWS profiles") from None
        if parser.has_section(section):
            found |= dict(parser.items(section))
    return found


def _on_aws() -> bool:
    """Whether this machine is an instance of AWS, which may have a role; no request is made for it."""
    try:
        return _VENDOR.read_text(encoding="utf-8").startswith("Amazon EC2")
    except (OSError, UnicodeDecodeError):
        return False


def _patience_s(size_bytes: int) -> int:
    return REQUEST_TIMEOUT_S + size_bytes // SLOWEST_BYTES_PER_S


def _tag(text: str | None) -> str:
    return (text or "").removeprefix("W/").strip('"')


def _mapped(label: str, error: Exception) -> G3MError:
    """The error of this program's tree for one of obstore's; its text is read, never shown."""
    text, kind = str(error), type(error).__name__
    found, code = _STATUS.search(text), _KIND.search(text)
    status = int(found[1]) if found else 0
    words = f"HTTP {status} {code[1] if code else ''}".strip()
    if status == 507 or (code and code[1] in ("QuotaExceeded", "XMinioStorageFull")):
        return NoSpace(f"{label}: the store is full ({words})", hint=_FULL)
    if kind in ("AlreadyExistsError", "PreconditionError") or status in (409, 412):
        return Replaced(f"{label}: another version is there")
    if isinstance(error, FileNotFoundError) or status == 404:
        return Missing(f"{label}: is not there ({words or 'no such object'})", hint=_BUCKET)
    if kind in ("UnauthenticatedError", "PermissionDeniedError") or status in (401, 403):
        return Refused(f"{label}: refused ({words})", hint=_KEYS)
    if status in (429, 503):
        return Throttled(f"{label}: the store is busy ({words})")
    if isinstance(error, NotImplementedError) or status == 501 or (code and code[1] in _NO_CONDITION):
        return SourceError(f"{label}: the store does not know this request ({words})")
    if status >= 500 or status == 408 or (code and code[1] == "RequestTimeout"):
        return Unreachable(f"{label}: the store failed ({words})", hint=_ENDPOINT)
    if status or "redirect" in text.lower():
        return Changed(f"{label}: the store did not take the request ({words})", hint=_BUCKET)
    if "credential" in text.lower() or "metadata service" in text.lower():
        return Refused(f"{label}: no credentials were found", hint=_KEYS)
    return Unreachable(f"{label}: no connection to the store, or it broke", hint=_ENDPOINT)
