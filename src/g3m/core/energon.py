"""Megatron-Energon's files: one `.nv-meta` for each dataset, with tables of where every sample lies.

They are what `energon prepare` of the version below makes of the same shards, so that it need not be run; the
bytes of an index that both write are equal. The database is written by steps/energon.py.
"""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from g3m.core.neighbours import MARK, Part, braces, by_split, lacks, quoted
from g3m.core.shard import BLOCK_BYTES, Entry, padding

VERSION = "7.4.1"
"""The version whose files these are; Energon writes its own into them."""

PARTS = {"train": "train", "validation": "val", "test": "test"}
"""Energon's words for the splits."""

SCHEMA = """
CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE,
    sample_index INTEGER NOT NULL, byte_offset INTEGER, byte_size INTEGER);
CREATE TABLE sample_parts (tar_file_id INTEGER, sample_index INTEGER, part_name TEXT,
    content_byte_offset INTEGER, content_byte_size INTEGER);
"""
INDEXES = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full ON sample_parts(
    tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size);
"""


@dataclass(frozen=True, slots=True)
class Placed:
    """One sample in its tar: from its first header on, `size_bytes` long up to the next sample's."""

    key: str
    offset: int
    size_bytes: int
    members: tuple[tuple[str, int, int], ...]
    """Extension, offset of the data, size; in the order in which they lie."""


def placed(entries: Iterable[Entry]) -> list[Placed] | None:
    """Where the samples of one shard begin and end, or None if an index of some members cannot say that.

    It can where members follow one another without a gap: each behind one header, padded to whole blocks.
    """
    found: list[Placed] = []
    end = 0
    for entry in entries:
        start, members = end, []
        for field in sorted(entry.fields, key=lambda field: field.offset):
            if field.offset != end + BLOCK_BYTES:
                return None
            end = field.offset + field.size_bytes + len(padding(field.size_bytes))
            members.append((field.extension, field.offset, field.size_bytes))
        found.append(Placed(entry.key, start, end - start, tuple(members)))
    return found


def tar_index(samples: Sequence[Placed]) -> bytes:
    """`NAME.tar.idx`: where each sample begins, and where the last one ends."""
    offsets = [sample.offset for sample in samples]
    end = samples[-1].offset + samples[-1].size_bytes if samples else 0
    return struct.pack(f"<{len(offsets) + 1}Q", *offsets, end)


def info_text(part: Part) -> str:
    """`.info.json`: the samples of each shard."""
    counts = {shard.name: shard.samples for shard in part.shards}
    return json.dumps({"energon_version": VERSION, "shard_counts": counts}, indent=2)


def split_text(part: Part) -> str:
    """`split.yaml`: all shards belong to the part that the dataset is."""
    lines = ["split_parts:"]
    for split, name in PARTS.items():
        patterns = braces([shard.name for shard in part.shards]) if split == part.split else []
        lines.append(f"  {name}:" + ("" if patterns else " []"))
        lines += [f"  - {quoted(pattern)}" for pattern in patterns]
    return "\n".join([*lines, "exclude: []", ""])


def dataset_text(part: Part) -> str:
    """`dataset.yaml`: a picture with its caption."""
    if "txt" not in part.fields or not part.images:
        raise lacks(part, "Energon's CaptioningSample needs a picture and txt")
    return "\n".join(
        [
            f"# By `{MARK} energon`",
            "sample_type:",
            "  __module__: megatron.energon",
            "  __class__: CaptioningSample",
            "field_map:",
            f"  image: {quoted(','.join(part.images))}",
            "  caption: txt",
            "",
        ]
    )


def blend_text(
    parts: Sequence[Part], places: Sequence[str], factors: Mapping[str, float] | None = None
) -> str:
    """`metadataset.yaml`: every sample once an epoch, or `factors` times; `places` are paths from there."""
    lines = [f"# By `{MARK} energon`", "__module__: megatron.energon", "__class__: MetadatasetV2", "splits:"]
    where = {part.name: place for part, place in zip(parts, places, strict=True)}
    for split, members in by_split(parts).items():
        lines += [f"  {PARTS[split]}:", "    blend_epochized:"]
        for part in members:
            times = (factors or {}).get(part.name, 1)
            lines += [f"    - repetitions: {times:g}", f"      path: {quoted(where[part.name])}"]
    return "\n".join([*lines, ""])


def uuid_text(part: Part) -> str:
    """`index.uuid`: the same for the same shards, another one for others."""
    text = json.dumps([[shard.name, shard.samples, shard.size_bytes, shard.sha256] for shard in part.shards])
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))
