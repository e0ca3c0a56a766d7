"""Dropping from a dataset in a bucket: the record is put there, and honoured by whoever reads or makes shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bucket_host import BUCKET, Relay, Request, keys
from tests.pictures_host import PicturesHost, picture, pictures_host
from tests.runners.lists import rows_of, write_list

import g3m
from g3m.adapters.objects import Objects, open_objects
from g3m.core.dropped import parse
from g3m.core.errors import SettingsError, UnknownDataset
from g3m.core.gathering import Columns, gathering_for
from g3m.runners.drop import DropReport, Wish, drop_in
from g3m.runners.gather import gather_in, plan_in
from g3m.runners.run import make_session


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads asks the bucket, and nothing that was kept."""
    monkeypatch.setenv("G3M_CACHE_LIMIT", "0")


@pytest.fixture
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


class Machine:
    """A machine with a disk of its own, and a prefix of the bucket."""

    def __init__(self, relay: Relay, folder: Path, name: str) -> None:
        self.address = f"s3://{BUCKET}/{folder.name}/out"
        self.variables = keys(relay.url, folder)
        self.root = folder / name

    def session(self) -> Any:
        return make_session({"allow_private": True, "jobs": 1, "root": str(self.root)}, self.variables)

    @property
    def objects(self) -> Objects:
        return open_objects(self.address, self.variables)

    def gather(self, *lists: Path, again: bool = False) -> int:
        session = self.session()
        wish = gathering_for(Columns(), session.settings, 4)
        plan, session = plan_in([str(path) for path in lists], self.address, wish, session)
        return gather_in(plan, session, [], retry_failed=again).finished

    def drop(self, line: str, **wish: Any) -> DropReport:
        path = self.root.parent / "lines.txt"
        path.write_text(line + "\n")
        option = "urls" if "://" in line else "keys"
        return drop_in([self.address], Wish(**{option: (path,)}, **wish), self.session(), [])


@pytest.fixture
def machine(relay: Relay, tmp_path: Path) -> Machine:
    return Machine(relay, tmp_path, "one")


def test_a_record_in_the_bucket_is_honoured_by_loader_and_retry(
    machine: Machine, relay: Relay, host: PicturesHost, tmp_path: Path
) -> None:
    """By key and by address; another machine neither asks for the row again nor is shown the sample."""
    rows = rows_of(host, "good", "cut", "good", "good", "good", "cut")
    machine.gather(write_list(tmp_path / "list.jsonl", rows))
    puts = relay.count("PUT")
    report = machine.drop("000002", reason="asked")
    assert [[one.key for one in found.new] for found in report.dropped.found] == [["000002"]]
    assert relay.count("PUT") == puts + 1
    report = machine.drop(rows[1]["url"])
    assert [[one.key for one in found.new] for found in report.dropped.found] == [["000001"]]
    record = parse(machine.objects.get_bytes("dropped.jsonl").decode())
    assert {key: drop.reason for key, drop in record.drops.items()} == {"000001": "", "000002": "asked"}
    assert list(machine.root.rglob("*.parquet")) == []
    before = dict(host.asked)
    host.moods["cut"] = lambda asked: asked.answer(picture(asked.number))
    Machine(relay, tmp_path, "two").gather(again=True)
    again = {path: count - before.get(path, 0) for path, count in host.asked.items()}
    assert (again["cut/1.jpg"], again["cut/5.jpg"]) == (0, 1)
    with g3m.dataset(f"{relay.url}/{machine.address.removeprefix('s3://')}/") as data:
        assert (len(data), data.dropped) == (4, 1)
        texts = [data[number].text for number in range(len(data))]
    assert texts == ["row 0", "row 3", "row 4", "row 5"]


def test_of_two_machines_that_drop_at_once_neither_is_lost(
    machine: Machine, relay: Relay, host: PicturesHost, tmp_path: Path
) -> None:
    """The put of the first is refused, because another record is there by then; it reads that and adds its own."""
    machine.gather(write_list(tmp_path / "list.jsonl", rows_of(host, *["good"] * 4)))
    machine.drop("000000")
    done: list[int] = []

    def spoil(request: Request) -> None:
        if request.method == "PUT" and request.name.endswith("dropped.jsonl") and not done:
            done.append(1)
            Machine(relay, tmp_path, "two").drop("000001")

    relay.spoil = spoil
    machine.drop("000002")
    record = parse(machine.objects.get_bytes("dropped.jsonl").decode())
    assert set(record.drops) == {"000000", "000001", "000002"}


def test_what_cannot_be_done_there_says_what_to_do(
    machine: Machine, host: PicturesHost, tmp_path: Path
) -> None:
    """Rewriting, an address that is no bucket, a prefix without a dataset."""
    machine.gather(write_list(tmp_path / "list.jsonl", rows_of(host, *["good"] * 4)))
    report = machine.drop("000002", rewrite=True)
    assert [type(error) for error in report.failed.values()] == [SettingsError]
    assert "aws s3 sync" in report.failed["out"].hint[0]
    assert "000002" in machine.objects.get_bytes("dropped.jsonl").decode()
    for name, error in (("https://a.example/x/", SettingsError), (f"s3://{BUCKET}/none", UnknownDataset)):
        with pytest.raises(error) as caught:
            drop_in([name], Wish(rewrite=True), machine.session(), [])
        assert "drop" in caught.value.hint[0] or "gather" in caught.value.hint[0]
