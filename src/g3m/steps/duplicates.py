"""duplicates: samples whose picture an earlier sample has, byte for byte, leave the sample list.

Only for the policy `duplicate_image=reject`. Equal pictures have equal sizes, and equal checksums where the
archives hold them, so few pictures of a zip are read here; of a tar, which has no checksums, nearly all.
Memory is bounded: counts have a fixed table, and what is compared at a time has a limit, which only a heap
of pictures of one single size can exceed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.core.errors import BadArchive
from g3m.core.plan import DatasetPlan
from g3m.core.receipt import PlannedShard, Rejected
from g3m.core.samples import Pick, Ref
from g3m.steps.arrangement import asset_receipts
from g3m.steps.unfold import path_of

SLOTS = 2**22
"""Two pictures of one slot may be equal; with more slots fewer are looked at in vain."""

COMPARED_LIMIT = 400_000
"""Pictures compared at a time take some seventy megabytes; where there are more, the list is read again."""

_DIGEST_BYTES = 16


class Duplicates:
    """Finds the duplicates in the sample list of one dataset.

    Several samples of one member (an image that is told several times) are no duplicates: they have one
    picture. A picture that cannot be read is none either: packing finds out why.
    """

    def __init__(self, dataset: DatasetPlan, sources: Mapping[str, str], session: Session) -> None:
        self._session = session
        assets = asset_receipts(dataset, session)
        self._paths = {source: path_of(where, assets, session) for source, where in sources.items()}
        self._by_checksum = True

    def left_out(
        self, path: Path, shards: Sequence[PlannedShard], rejected: list[Rejected]
    ) -> Iterator[tuple[int, Pick]]:
        """The list without them: shard number and pick. Each duplicate is rejected with the first's key."""
        slots = self._count(path, shards)
        candidates = sum(count for count in slots if count > 1)
        rounds = candidates // COMPARED_LIMIT + 1 if candidates else 0
        found: dict[int, str] = {}
        for number in range(rounds):
            found |= self._compare(path, shards, slots, (number, rounds))
        for place, shard, pick in self._picks(path, shards):
            if place in found:
                rejected.append((pick.key, "duplicate_image", found[place]))
            else:
                yield shard, pick

    def _count(self, path: Path, shards: Sequence[PlannedShard]) -> array[int]:
        """How many pictures fall into each slot."""
        self._by_checksum = all(
            pick.image.member.crc32 is not None for _, _, pick in self._picks(path, shards)
        )
        slots = array("I", bytes(array("I").itemsize * SLOTS))
        for _, _, pick in self._picks(path, shards):
            slots[self._slot(pick.image)] += 1
        return slots

    def _slot(self, image: Ref) -> int:
        member = image.member
        mixed = member.size_bytes * 0x9E3779B1 ^ ((member.crc32 or 0) if self._by_checksum else 0)
        return mixed % SLOTS

    def _compare(
        self, path: Path, shards: Sequence[PlannedShard], slots: array[int], part: tuple[int, int]
    ) -> dict[int, str]:
        """Places in the list of the duplicates of one part of the slots, with the key of the first."""
        number, parts = part
        found: dict[int, str] = {}
        first: dict[bytes, int] = {}
        with ExitStack() as stack:
            lines = stack.enter_context(open(path, "rb"))
            readers = {
                source: stack.enter_context(MemberReader(place)) for source, place in self._paths.items()
            }
            for place, _, pick in self._picks(path, shards):
                slot = self._slot(pick.image)
                if slots[slot] < 2 or slot % parts != number:
                    continue
                digest = _digest(readers[pick.image.source], pick.image)
                earlier = place if digest is None else first.setdefault(digest, place)
                if earlier != place:
                    lines.seek(earlier)
                    original = Pick.from_line(lines.readline())
                    if original.image != pick.image:
                        found[place] = original.key
        return found

    def _picks(self, path: Path, shards: Sequence[PlannedShard]) -> Iterator[tuple[int, int, Pick]]:
        """Every line of the list: where it begins, the number of its shard, the pick."""
        with open(path, "rb") as lines:
            place = 0
            for shard in shards:
                number = int(shard.name.partition(".")[0])
                for _ in range(shard.samples):
                    self._session.check_stop()
                    line = lines.readline()
                    yield place, number, Pick.from_line(line)
                    place += len(line)


def _digest(reader: MemberReader, image: Ref) -> bytes | None:
    try:
        return hashlib.blake2b(reader.read(image.member), digest_size=_DIGEST_BYTES).digest()
    except BadArchive:
        return None
