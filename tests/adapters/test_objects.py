"""adapters/objects.py against a real S3 server, and a relay that spoils requests."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bucket_host import BUCKET, Relay, keys, relay_to, s3_server, without_variables

from g3m.adapters import objects as module
from g3m.adapters.objects import ObjectInfo, Objects, open_objects
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
    Unreachable,
    UsageError,
)

DATA = random.Random(7).randbytes(3_000_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A moto server."""
    with s3_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def relay(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay before it; no variable of the machine plays a part."""
    without_variables(monkeypatch)
    with relay_to(server) as relay:
        yield relay


@pytest.fixture
def objects(relay: Relay, tmp_path: Path) -> Objects:
    """The objects below a prefix of the test's own."""
    return open_objects(f"s3://{BUCKET}/{tmp_path.name}/a b", keys(relay.url, tmp_path))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A file that is larger than one piece of anything."""
    path = tmp_path / "shard"
    path.write_bytes(DATA)
    return path


def test_there_and_back(objects: Objects, shard: Path, tmp_path: Path) -> None:
    """What is put is listed, looked at and fetched as it was; what is not there is said so."""
    made = objects.put_file("x/00000.tar", shard)
    assert made == ObjectInfo("x/00000.tar", len(DATA), made.tag)
    assert objects.put_bytes("note ü+%.json", b"{}").size_bytes == 2
    assert objects.put_bytes("empty", b"").size_bytes == 0
    assert {item.name: item.size_bytes for item in objects.list()} == {
        "x/00000.tar": len(DATA),
        "note ü+%.json": 2,
        "empty": 0,
    }
    assert list(objects.list("x")) == [made]
    assert objects.look("x/00000.tar") == made
    assert objects.size("x/00000.tar") == len(DATA)
    assert objects.get_bytes("note ü+%.json") == b"{}"
    assert objects.get_file("x/00000.tar", tmp_path / "back") == made
    assert (tmp_path / "back").read_bytes() == DATA
    objects.remove("empty")
    objects.remove("empty")
    assert objects.look("empty") is None
    with pytest.raises(Missing, match="is not there"):
        objects.get_bytes("empty")
    with pytest.raises(Missing):
        objects.size("empty")
    with pytest.raises(Missing):
        objects.get_file("empty", tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_one_put_signed_with_the_digest(objects: Objects, relay: Relay, shard: Path) -> None:
    """A file is one request, whatever its size, and the signature covers its digest."""
    import hashlib

    objects.put_file("00000.tar", shard)
    [request] = relay.seen
    assert (request.method, request.body) == ("PUT", DATA)
    assert request.headers["x-amz-content-sha256"] == hashlib.sha256(DATA).hexdigest()
    assert "nothing-to-hide" not in str(request.headers)


def test_an_empty_file(objects: Objects, tmp_path: Path) -> None:
    """A file without bytes is an object without bytes."""
    path = tmp_path / "nothing"
    path.touch()
    assert objects.put_file("nothing", path).size_bytes == 0
    assert objects.size("nothing") == 0


def test_a_file_does_not_come_into_memory(objects: Objects, relay: Relay, tmp_path: Path) -> None:
    """Putting a large file takes no memory of its own: its pages are the disk's."""
    path = tmp_path / "large"
    path.write_bytes(bytes(64 * 2**20))
    relay.spoil = lambda request: 503 if request.method == "PUT" else None
    with pytest.raises(Throttled):
        objects.put_file("warm", tmp_path / "large")
    before = _private_bytes()
    grown: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            grown.append(_private_bytes() - before)

    relay.spoil = lambda request: "reset" if request.name.endswith("large") else None
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(Unreachable):
            objects.put_file("large", path)
    finally:
        done.set()
        watcher.join()
    # The relay lives in this process and reads half of the body.
    assert max(grown, default=0) < 56 * 2**20


def _private_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line)
    return int(line.split()[1]) * 1024


def test_conditions(objects: Objects, shard: Path) -> None:
    """`over` says what may be replaced: nothing, one version, or whatever is there."""
    first = objects.put_bytes("a", b"first", over="")
    with pytest.raises(Replaced):
        objects.put_file("a", shard, over="")
    with pytest.raises(Replaced):
        objects.put_bytes("a", b"third", over="0123")
    second = objects.put_bytes("a", b"second", over=first.tag)
    assert objects.get_bytes("a") == b"second"
    assert second.tag != first.tag
    objects.put_bytes("a", b"any")
    assert objects.get_bytes("a") == b"any"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "Anything", Refused),
        (403, "AccessDenied", Refused),
        (404, "NoSuchBucket", Missing),
        (409, "ConditionalRequestConflict", Replaced),
        (412, "PreconditionFailed", Replaced),
        (429, "TooMany", Throttled),
        (503, "SlowDown", Throttled),
        (500, "InternalError", Unreachable),
        (502, "BadGateway", Unreachable),
        (400, "RequestTimeout", Unreachable),
        (501, "NotImplemented", SourceError),
        (400, "InvalidArgument", SourceError),
        (507, "Full", NoSpace),
        (403, "QuotaExceeded", NoSpace),
        (400, "EntityTooLarge", Changed),
        (301, "PermanentRedirect", Changed),
    ],
)
def test_answers_and_errors(
    objects: Objects, relay: Relay, shard: Path, status: int, code: str, kind: type[G3MError]
) -> None:
    """Every refusal is an error of our own, asked for once, with the address and no word of keys."""
    relay.spoil, relay.error_code = lambda request: status, code
    with pytest.raises(kind) as error:
        objects.put_bytes("a", b"data")
    assert type(error.value) is kind
    assert objects.address in error.value.message
    assert len(relay.seen) == 1
    for text in (error.value.message, *error.value.hint, repr(error.value)):
        assert "AKIANOBODY" not in text
        assert "nothing-to-hide" not in text
    with pytest.raises(kind if kind is not Changed else G3MError):
        list(objects.list())


@pytest.mark.parametrize("wish", ["reset", "lost"])
def test_broken_connections(objects: Objects, relay: Relay, shard: Path, wish: str) -> None:
    """A connection that breaks within a PUT, or before its answer, is an error; half an object is never seen."""
    relay.spoil = lambda request: wish if request.method == "PUT" else None
    with pytest.raises(Unreachable):
        objects.put_file("00000.tar", shard)
    assert relay.count("PUT") == 1
    there = objects.look("00000.tar")
    assert there is None if wish == "reset" else there is not None and there.size_bytes == len(DATA)


def test_nobody_listens(tmp_path: Path) -> None:
    """An endpoint without a server is unreachable, and the message names the bucket."""
    objects = open_objects("s3://bucket/a", keys("http://127.0.0.1:1", tmp_path))
    with pytest.raises(Unreachable, match="s3://bucket/a"):
        list(objects.list())


def test_an_object_that_changes_while_it_is_fetched(
    objects: Objects, relay: Relay, shard: Path, tmp_path: Path
) -> None:
    """A file of two versions is not kept."""
    objects.put_file("a", shard)

    def spoil(request: object) -> None:
        if relay.seen and relay.seen[-1].method == "GET" and len(relay.seen) == before + 2:
            objects.put_bytes("a", b"other")

    before = len(relay.seen)
    relay.spoil = spoil  # type: ignore[assignment]
    with pytest.raises(SourceError):
        objects.get_file("a", tmp_path / "got")
    assert not (tmp_path / "got").exists()
    assert not list(tmp_path.glob(".*.tmp"))


def test_too_large_for_one_put(objects: Objects, relay: Relay, tmp_path: Path) -> None:
    """A file of more than five binary gigabytes is refused with a word before a byte is sent."""
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.truncate(module.LARGEST_PUT_BYTES + 1)
    with pytest.raises(StorageError, match="one PUT takes") as error:
        objects.put_file("huge", path)
    assert "--image-size" in error.value.hint[0]
    assert relay.seen == []


def test_a_file_that_is_not_there(objects: Objects, tmp_path: Path) -> None:
    """A local file that cannot be read is an error of the disk."""
    with pytest.raises(StorageError, match="absent"):
        objects.put_file("a", tmp_path / "absent")
    objects.put_bytes("b", b"data")
    with pytest.raises(StorageError):
        objects.get_file("b", tmp_path / "no folder" / "b")


def test_as_anybody(objects: Objects, relay: Relay, tmp_path: Path) -> None:
    """Without keys nothing is signed, and what is public can be read."""
    objects.put_bytes("a", b"public")
    variables = {"AWS_ENDPOINT_URL": relay.url, "HOME": str(tmp_path)}
    anybody = open_objects(objects.address, variables)
    relay.seen.clear()
    assert anybody.get_bytes("a") == b"public"
    assert "authorization" not in relay.seen[0].headers
    assert repr(anybody) == f"<g3m objects of {objects.address}>"


def test_keys_of_the_shared_files(relay: Relay, tmp_path: Path) -> None:
    """A profile's keys, region and endpoint are used; AWS_PROFILE names it; a damaged file is named."""
    aws = tmp_path / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text(
        "[default]\naws_access_key_id=one\naws_secret_access_key=x\n"
        "[lab]\naws_access_key_id=two\naws_secret_access_key=x\naws_session_token=ticket\n"
    )
    (aws / "config").write_text(
        f"[default]\nregion=eu-north-1\nendpoint_url={relay.url}\n"
        f"[profile lab]\nregion=cn-north-1\nendpoint_url={relay.url}\n"
    )
    home = {"HOME": str(tmp_path)}
    open_objects(f"s3://{BUCKET}/shared", home).look("a")
    open_objects(f"s3://{BUCKET}/shared", {**home, "AWS_PROFILE": "lab"}).look("a")
    first, second = (request.headers for request in relay.seen)
    assert "Credential=one/" in first["authorization"]
    assert "/eu-north-1/" in first["authorization"]
    assert "Credential=two/" in second["authorization"]
    assert "/cn-north-1/" in second["authorization"]
    assert second["x-amz-security-token"] == "ticket"
    (aws / "config").write_text("no section\n")
    with pytest.raises(UsageError, match="config"):
        open_objects(f"s3://{BUCKET}/shared", home)


def test_names_that_lead_out_are_passed_over(objects: Objects, server: str) -> None:
    """An object of another's bucket cannot name a file outside a folder of ours."""
    import http.client
    from urllib.parse import quote, urlsplit

    objects.put_bytes("good", b"1")
    path = f"/{BUCKET}/{quote(objects.bucket.prefix)}/x\\..\\evil"
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=30)
    connection.request("PUT", quote(path, safe="/%"), b"evil")
    assert connection.getresponse().status == 200
    connection.close()
    assert [item.name for item in objects.list()] == ["good"]


def test_without_obstore(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the extra is missing, the error says what to install."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(UsageError, match="obstore") as error:
        open_objects("s3://bucket/a", {"HOME": str(tmp_path)})
    assert "pip install 'g3m[objects]'" in error.value.hint[0]


def test_a_role_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only an instance of AWS is taken for one that has credentials of its own, and no request is made."""
    vendor = tmp_path / "vendor"
    monkeypatch.setattr(module, "_VENDOR", vendor)
    home = {"HOME": str(tmp_path)}
    assert not open_objects("s3://bucket/a", home).how.signed
    vendor.write_text("Amazon EC2\n")
    assert open_objects("s3://bucket/a", home).how.signed
