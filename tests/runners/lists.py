"""Lists of URLs gathered from the pictures' host, and what came of them, read without g3m's own code."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet
from tests.pictures_host import PicturesHost

from g3m.core.events import Event
from g3m.core.gathering import Columns, gathering_for
from g3m.core.receipt import Manifest, manifest
from g3m.runners.gather import gather_in, plan_in
from g3m.runners.run import make_session


def rows_of(host: PicturesHost, *moods: str) -> list[dict[str, Any]]:
    """One row for each mood, numbered, with a caption."""
    return [
        {"url": host.url(f"{mood}/{number}.jpg"), "caption": f"row {number}"}
        for number, mood in enumerate(moods)
    ]


def write_list(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(
    source: Path | None,
    to: Path,
    *,
    columns: Columns | None = None,
    task_rows: int = 4,
    retry_failed: bool = False,
    events: list[Event] | None = None,
    **options: object,
) -> Gathered:
    """Gather a list from this machine's own host, and open what stands."""
    session = make_session({"allow_private": True, "jobs": 1, **options}, {})
    wish = gathering_for(columns or Columns(), session.settings, task_rows)
    plan, session = plan_in([str(source)] if source else [], to, wish, session)
    seen: list[Event] = [] if events is None else events
    summary = gather_in(plan, session, [seen.append], retry_failed=retry_failed)
    return Gathered(to, seen, summary.finished)


@dataclass
class Gathered:
    """A gathered dataset as it stands on the disk."""

    folder: Path
    events: list[Event] = field(default_factory=list)
    finished: int = 0

    @cached_property
    def manifest(self) -> Manifest:
        found = manifest((self.folder / "manifest.json").read_text())
        assert found is not None
        return found

    @cached_property
    def samples(self) -> dict[str, dict[str, bytes]]:
        """Key, then extension: the bytes of every member of every shard, in order."""
        found: dict[str, dict[str, bytes]] = {}
        for path in sorted(self.folder.glob("*.tar")):
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    key, _, extension = member.name.partition(".")
                    content = archive.extractfile(member)
                    assert content is not None
                    found.setdefault(key, {})[extension] = content.read()
        return found

    @property
    def metas(self) -> list[dict[str, Any]]:
        return [json.loads(files["json"]) for files in self.samples.values()]

    def table(self, shard: str) -> list[dict[str, Any]]:
        """The rows of one table, in order."""
        path = self.folder / f"{shard}.parquet"
        if path.is_file():
            return list(pyarrow.parquet.read_table(path).to_pylist())
        lines = (self.folder / f"{shard}.rows.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @property
    def tables(self) -> list[list[dict[str, Any]]]:
        return [self.table(path.stem) for path in sorted(self.folder.glob("*.tar"))]

    @property
    def reasons(self) -> list[str]:
        """The reason of each row as it was last given, in the order of the list."""
        latest = {row["row"]: row["reason"] for table in self.tables for row in table}
        return [latest[number] for number in sorted(latest)]

    def receipt(self, shard: str) -> dict[str, Any]:
        folder = next(path for path in (self.folder / ".g3m/receipts").iterdir() if path.name != "assets")
        return dict(json.loads((folder / f"{shard}.tar.json").read_text()))

    def check_counts(self) -> None:
        """Every row is accounted for once, in receipts, tables, stats and manifest alike."""
        for path in sorted(self.folder.glob("*.tar")):
            table, receipt = self.table(path.stem), self.receipt(path.stem)
            reasons = Counter(row["reason"] for row in table if row["reason"])
            stats = json.loads((self.folder / f"{path.stem}_stats.json").read_text())
            good = sum(1 for row in table if not row["reason"])
            assert receipt.get("reasons", {}) == dict(reasons), path
            assert receipt["shard"]["samples"] == good == stats["successes"], path
            assert stats["count"] == len(table) == good + sum(reasons.values()), path
            assert stats["failed_to_download"] + stats["failed_to_resize"] == sum(reasons.values()), path
            assert stats["status_dict"] == {**({"success": good} if good else {}), **reasons}, path
            keys = [row["key"] for row in table if not row["reason"]]
            own = [key for key in self.samples if key.startswith(path.stem)]
            assert keys == own, path
        latest = Counter(reason for reason in self.reasons if reason)
        assert self.manifest.rejected == dict(latest)
        assert self.manifest.samples == len(self.samples) == self.reasons.count("")
        assert self.manifest.seen == len(self.reasons)


def same_files(one: Path, other: Path) -> list[str]:
    """Names of files that differ, without those that hold times or names of the folder."""

    def content(folder: Path) -> dict[str, bytes]:
        paths = (path for path in folder.iterdir() if path.is_file())
        return {path.name: path.read_bytes() for path in paths if not path.name.endswith("_stats.json")}

    left, right = content(one), content(other)
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
