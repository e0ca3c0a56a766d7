"""adopt: a ready WebDataset shard is checked, indexed and taken over as it is.

The fetched file is renamed into place (a copy of the user's own is linked), so that its bytes stay those
of the source. Only a shard that holds something unusable is written anew without it, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from g3m.adapters.disk import link_or_copy, remove
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.adapters.shards import ShardWriter
from g3m.adapters.tar import list_tar
from g3m.core.digest import strongest
from g3m.core.dropped import REASON, Record
from g3m.core.errors import BadArchive
from g3m.core.events import Event, Noted, Progressed
from g3m.core.members import Member, Refusal, basename
from g3m.core.pairs import unique_keys
from g3m.core.plan import Plan, Task
from g3m.core.receipt import AssetReceipt, Rejected
from g3m.core.samples import safe_key
from g3m.core.shard import Entry, Field, ShardSummary
from g3m.core.sniff import image_kind
from g3m.steps.dropped import record_of
from g3m.steps.find import located, on_trust, present
from g3m.steps.pack import Packed, finish_shard, making_path

FIELD_OF = {"jpg": "jpg", "jpeg": "jpg", "png": "jpg", "webp": "jpg", "json": "json", "txt": "txt"}
"""The field of the layout that a member's extension stands for; other members are left alone."""

NO_PEER = ("run again without --peer", "请去掉 --peer 后重新运行")
_HEAD_BYTES = 64
TICK_SAMPLES = 512


@dataclass(slots=True)
class _Group:
    """Neighbouring members of one key."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)
    twice: bool = False


@dataclass(slots=True)
class _Survey:
    """What a ready shard holds, and whether it can stay as it is."""

    whole: list[_Group] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    renamed: bool = False
    dropped: Record = field(default_factory=Record)

    @property
    def clean(self) -> bool:
        return not self.rejected and not self.renamed


def adopt(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Take over one shard and write its receipt."""
    dataset = plan.dataset(task.dataset)
    asset = plan.assets[task.asset]
    receipt = present(session, asset)
    if receipt is None:
        raise BadArchive(f"{asset.name}: the fetched file is gone; run again")
    path = located(session, asset, receipt)
    survey = _Survey(dropped=record_of(dataset, session))
    with on_trust(session, asset, receipt), MemberReader(path) as reader:
        for number, group in enumerate(_groups(list_tar(path), survey)):
            session.check_stop()
            _judge(group, reader, survey)
            if number % TICK_SAMPLES == 0:
                yield Progressed(task=task.id, done_bytes=number)
        part = making_path(task, session)
        if receipt.proof == "peer":
            _check_borrowed(asset.name, survey)
        if survey.clean:
            packed, summary = _take_over(path, receipt, part, survey)
        else:
            yield Noted(
                task=task.id, text=f"{asset.name}: {len(survey.rejected)} members are left out; written anew"
            )
            packed, summary = _rewrite(reader, part, survey)
    yield finish_shard(task, dataset, part, summary, packed, session)
    if not receipt.path:
        remove(path)


def _check_borrowed(name: str, survey: _Survey) -> None:
    """A shard that g3m packed is never in need of repair, so this one is something else."""
    if not survey.clean:
        count = len(survey.rejected)
        raise BadArchive(f"{name}: the peer's shard holds {count} unusable members", hint=NO_PEER)
    survey.notes["from_peer"] = 1


def _groups(items: Iterable[Member | Refusal], survey: _Survey) -> Iterator[_Group]:
    """Neighbours of one key, as every WebDataset reader groups them: up to the first dot of the name."""
    group: _Group | None = None
    seen: set[str] = set()
    for item in items:
        if isinstance(item, Refusal):
            survey.rejected.append((item.name[:200], item.reason, item.detail))
            survey.notes["stray_files"] = survey.notes.get("stray_files", 0) + 1
            continue
        name = basename(item.name)
        key, _, extension = name.partition(".")
        prefix = item.name[: len(item.name) - len(name)]
        kind = FIELD_OF.get(extension.lower(), "")
        if group is None or group.key != prefix + key:
            if group is not None:
                yield group
            group = _Group(prefix + key, twice=prefix + key in seen)
            seen.add(prefix + key)
        if kind and kind in group.members:
            group.twice = True
        elif kind:
            group.members[kind] = item
            survey.renamed = survey.renamed or extension != kind
    if group is not None:
        yield group


def _judge(group: _Group, reader: MemberReader, survey: _Survey) -> None:
    image = group.members.get("jpg")
    if group.key.removeprefix("./") in survey.dropped or basename(group.key) in survey.dropped:
        problem = REASON
    elif group.twice or not safe_key(basename(group.key)):
        problem = "duplicate_key" if group.twice else "unsafe_key"
    elif image is None or "txt" not in group.members:
        problem = "incomplete" if group.members else ""
        if not problem:
            return
    else:
        head = reader.read(Member(image.name, "raw", image.offset, *_head_size(image)))
        problem = "" if image_kind(head) else ("empty_image" if not image.size_bytes else "not_an_image")
    if problem:
        survey.rejected.append((group.key[:200], problem, ""))
        return
    survey.whole.append(group)


def _head_size(image: Member) -> tuple[int, int]:
    size_bytes = min(_HEAD_BYTES, image.size_bytes)
    return size_bytes, size_bytes


def _take_over(path: Path, receipt: AssetReceipt, part: Path, survey: _Survey) -> tuple[Packed, ShardSummary]:
    """The shard as it is: a second name for it, so that the asset is there until the receipt is."""
    link_or_copy(path, part)
    entries = [
        Entry(
            group.key.removeprefix("./"),
            tuple(Field(kind, member.offset, member.size_bytes) for kind, member in group.members.items()),
        )
        for group in survey.whole
    ]
    digest = strongest(receipt.digests)
    size_bytes = os.stat(part).st_size
    summary = ShardSummary(part.name, len(entries), size_bytes, digest.hex if digest else "")
    packed = Packed(entries, survey.rejected, survey.notes)
    for entry, group in zip(entries, survey.whole, strict=True):
        _find(entry.key, group, packed)
    return packed, summary


def _find(key: str, group: _Group, packed: Packed) -> None:
    # img2dataset writes an empty file where there was no caption: the shard stays, the list tells.
    if not group.members["txt"].size_bytes:
        packed.find(key, ("no_caption",), ())


def _rewrite(reader: MemberReader, part: Path, survey: _Survey) -> tuple[Packed, ShardSummary]:
    packed = Packed([], survey.rejected, survey.notes)
    if survey.renamed or any(reason != REASON for _, reason, _ in survey.rejected):
        packed.note("rewritten_shard")
    keys = unique_keys(basename(group.key) for group in survey.whole)
    with ShardWriter(part) as writer:
        for key, group in zip(keys, survey.whole, strict=True):
            order = [kind for kind in ("jpg", "json", "txt") if kind in group.members]
            parts = [(kind, reader.read(group.members[kind])) for kind in order]
            packed.entries.append(writer.add(key, parts))
            _find(key, group, packed)
        return packed, writer.close()
