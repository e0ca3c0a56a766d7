"""core/energon.py: where samples begin and end follows from the index, or it says that it does not."""

from __future__ import annotations

import io
import json
import struct
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.energon import blend_text, dataset_text, info_text, placed, split_text, tar_index, uuid_text
from g3m.core.errors import UsageError
from g3m.core.neighbours import Part
from g3m.core.shard import Entry, Field, ShardSummary


def tar_of(samples: list[list[int]]) -> tuple[list[Entry], list[int]]:
    """The entries of a real tar with members of these sizes, and where each sample's first header is."""
    file, names = io.BytesIO(), ("jpg", "json", "txt", "cls")
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, sizes in enumerate(samples):
            for extension, size in zip(names, sizes, strict=False):
                member = tarfile.TarInfo(f"{number}.{extension}")
                member.size = size
                tar.addfile(member, io.BytesIO(bytes(size)))
    found: dict[str, list[tarfile.TarInfo]] = {}
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        for member in tar:
            found.setdefault(member.name.partition(".")[0], []).append(member)
        end = tar.offset
    entries = [
        Entry(key, tuple(Field(one.name.partition(".")[2], one.offset_data, one.size) for one in members))
        for key, members in found.items()
    ]
    return entries, [*(members[0].offset for members in found.values()), end]


@given(st.lists(st.lists(st.integers(0, 1600), min_size=1, max_size=4), max_size=5))
def test_samples_begin_where_the_headers_of_a_real_tar_say(samples: list[list[int]]) -> None:
    """Offsets of a tar written by tarfile, out of its data offsets alone."""
    entries, offsets = tar_of(samples)
    found = placed(entries)
    assert found is not None
    assert list(struct.unpack(f"<{len(offsets)}Q", tar_index(found))) == offsets
    assert [one.key for one in found] == [entry.key for entry in entries]
    assert [one.offset + one.size_bytes for one in found] == offsets[1:]


def test_a_gap_is_told() -> None:
    """A member that the index does not know, before, between or inside samples, leaves a gap."""
    entries, _ = tar_of([[10, 20], [600, 5], [3, 4]])
    assert placed(entries) is not None
    assert placed(entries[1:]) is None
    assert placed([entries[0], entries[2]]) is None
    cut = Entry(entries[0].key, entries[0].fields[:1])
    assert placed([cut, *entries[1:]]) is None


def toy(*names: str, split: str = "train", **more: object) -> Part:
    shards = tuple(ShardSummary(name, 3, 10_240, "0" * 64) for name in names)
    return Part(name="toy", place="/d/toy", folder="toy", shards=shards, split=split, **more)  # type: ignore[arg-type]


def test_the_small_files_say_counts_parts_and_fields() -> None:
    """`.info.json`, `split.yaml` and `dataset.yaml`, as `energon prepare` has them."""
    part = toy("a-0.tar", "a-1.tar", "b {x}.tar", split="validation")
    assert json.loads(info_text(part))["shard_counts"] == {"a-0.tar": 3, "a-1.tar": 3, "b {x}.tar": 3}
    lines = split_text(part).splitlines()
    assert lines == [
        "split_parts:",
        "  train: []",
        "  val:",
        '  - "a-{0..1}.tar"',
        r'  - "b \\{x\\}.tar"',
        "  test: []",
        "exclude: []",
    ]
    assert '  image: "jpg"\n  caption: txt\n' in dataset_text(part)
    assert '  image: "jpg,webp"\n' in dataset_text(toy("a.tar", fields=("webp", "jpg", "txt")))
    for fields in (("jpg",), ("txt",)):
        with pytest.raises(UsageError, match="a picture and txt"):
            dataset_text(toy("a.tar", fields=fields))


def test_a_blend_names_each_dataset_once_an_epoch_or_by_its_factor() -> None:
    """Splits have their own list; a factor is a number of repetitions."""
    valid = Part(name="v", place="/d/v", folder="v", shards=(), split="validation")
    text = blend_text([toy("a.tar"), valid], ["./toy", "/d/v"], {"toy": 2})
    assert text.splitlines()[3:] == [
        "splits:",
        "  train:",
        "    blend_epochized:",
        "    - repetitions: 2",
        '      path: "./toy"',
        "  val:",
        "    blend_epochized:",
        "    - repetitions: 1",
        '      path: "/d/v"',
    ]


def test_the_stamp_belongs_to_the_shards() -> None:
    """Equal for equal shards; another one if a name, a count or a digest is another."""
    stamps = {uuid_text(toy("a.tar")), uuid_text(toy("b.tar")), uuid_text(toy("a.tar", "b.tar"))}
    assert len(stamps) == 3
    assert uuid_text(toy("a.tar")) == uuid_text(toy("a.tar", split="test"))
