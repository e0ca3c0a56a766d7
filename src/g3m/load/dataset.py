"""One dataset, or several as one: samples by number, with a true length.

Here: what a sample is, and which there are. The order of an epoch is core/order.py's business, batches and
decoding are for load/assemble.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite
from operator import index as as_number
from typing import TYPE_CHECKING, Any

from g3m.adapters.pillow import FORMATS
from g3m.core.errors import ContentError, SettingsError
from g3m.core.settings import Settings
from g3m.load.captions import POLICIES, Policy, captions_of, chosen, text_of
from g3m.load.exclusion import Listed, exclude
from g3m.load.folder import Folder
from g3m.load.names import Name, distinct_names, open_folders

if TYPE_CHECKING:
    from PIL import Image

Weights = Sequence[float] | Mapping[str, float]


SHOWN_CHARACTERS = 60
"""How much of a caption is printed with a sample."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its text: `image` are the file's bytes (empty if there is none), `json` its json's."""

    key: str
    dataset: str
    image: bytes
    text: str
    json: bytes = b""

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= SHOWN_CHARACTERS else self.text[:SHOWN_CHARACTERS] + "…"
        return f"<g3m sample {self.dataset}/{self.key}: image of {len(self.image):,} bytes, {text!r}>"

    @property
    def meta(self) -> dict[str, Any]:
        """What the json says, empty if there is none; ContentError if it is no JSON object."""
        try:
            body = json.loads(self.json) if self.json else {}
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise ContentError(f"{self.dataset}/{self.key}: its json is no JSON object")
        return body

    @property
    def captions(self) -> tuple[str, ...]:
        """The captions one by one, as the json lists them; the text alone if it lists none."""
        return captions_of(self.text, self.json)

    def open(self) -> Image.Image:
        """The image by Pillow, decoded when its pixels are asked for; Pillow's errors are not changed."""
        from PIL import Image

        return Image.open(io.BytesIO(self.image), formats=FORMATS)


class Dataset:
    """The samples of one or several folders, by number, one folder behind the other.

    It never changes. Any number of threads may read at once, and so may processes: forked ones, and others
    that got it pickled.
    """

    def __init__(
        self,
        folders: Sequence[Folder],
        *,
        weights: Weights | None = None,
        excluded: Listed | None = None,
        captions: Policy = "joined",
    ) -> None:
        if captions not in POLICIES:
            raise SettingsError(f"captions: must be one of {', '.join(POLICIES)}, not {captions!r}")
        self.folders = tuple(folders)
        self.names = distinct_names(self.folders)
        self.policy: Policy = captions
        self._kept, self.exclusion = exclude(excluded, self.folders, self.names)
        self.dropped = sum(len(folder.dropped()) for folder in self.folders)
        """How many samples the shards hold that `g3m drop` has dropped; they have no number here."""
        self.lengths = tuple(len(kept) for kept in self._kept)
        self._ends = list(accumulate(self.lengths))
        self.weights = None if weights is None else _shares(weights, self.names, self.lengths)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> Sample:
        number = as_number(number)
        return self.load(number if number >= 0 else number + len(self))

    def __iter__(self) -> Iterator[Sample]:
        return (self.load(number) for number in range(len(self)))

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        shards = sum(len(folder.shards) for folder in self.folders)
        less = f", {self.exclusion.samples} left out" if self.exclusion else ""
        less += f", {self.dropped} dropped" if self.dropped else ""
        return f"<g3m dataset {', '.join(self.names)}: {len(self)} samples in {shards} shards{less}>"

    @property
    def fingerprint(self) -> str:
        """A hex digest of what the numbers stand for: the folders, their samples, what is left out."""
        found = hashlib.sha256()
        for name, folder, kept in zip(self.names, self.folders, self._kept, strict=True):
            found.update(f"{name}\n{len(folder)}\n{folder.digest}\n{len(kept)}\n".encode())
            found.update(",".join(map(str, kept.excluded)).encode())
        return found.hexdigest()

    def load(self, number: int) -> Sample:
        """A sample by its number; IndexError beyond, NotVerified where the files are not as indexed."""
        part, own = self._place(number)
        parts = self.folders[part].parts(own)
        return Sample(parts.key, self.names[part], parts.image, text_of(parts.text), parts.json)

    def raw(self, number: int) -> tuple[bytes, bytes]:
        """The bytes of a sample's image and of its text; empty where it has none."""
        part, own = self._place(number)
        parts = self.folders[part].parts(own)
        return parts.image, parts.text

    def member(self, number: int, extension: str) -> bytes:
        """The bytes of any member of a sample (`cls`, say); empty if it has none."""
        part, own = self._place(number)
        return self.folders[part].members(own, (extension,))[0]

    def key(self, number: int) -> str:
        """`dataset/key` of a sample, out of the index alone."""
        part, own = self._place(number)
        return f"{self.names[part]}/{self.folders[part].key(own)}"

    def caption(
        self, number: int, epoch: int = 0, seed: int = 0, sample: Sample | None = None
    ) -> str | tuple[str, ...]:
        """What a training step gets as a sample's caption: a text, with the policy `all` a tuple of texts.

        Give the sample if it is loaded already, then nothing is read.
        """
        if sample is None:
            part, own = self._place(number)
            text, meta = self.folders[part].members(own, ("txt", "json"))
            sample = Sample("", "", b"", text_of(text), meta)
        if self.policy == "joined":
            return sample.text
        captions = sample.captions
        return captions if self.policy == "all" else chosen(captions, number, epoch, seed)

    def close(self) -> None:
        """Close the shards; reading on opens them again."""
        for folder in self.folders:
            folder.close()

    def _place(self, number: int) -> tuple[int, int]:
        """The folder of a number, and the number of the sample in it."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        part = bisect_right(self._ends, number)
        return part, self._kept[part][number - (self._ends[part] - self.lengths[part])]


def _shares(weights: Weights, names: Sequence[str], lengths: Sequence[int]) -> tuple[float, ...]:
    """The weights in the order of the datasets, as parts of one; SettingsError if they cannot be that."""
    shown = ", ".join(names)
    if isinstance(weights, Mapping):
        if set(weights) != set(names):
            raise SettingsError(f"weights: must be given for {shown}, not for {', '.join(weights)}")
        weights = [weights[name] for name in names]
    if len(weights) != len(names):
        raise SettingsError(f"weights: {len(weights)} for {len(names)} datasets: {shown}")
    total = sum(weights)
    if not all(isfinite(weight) and weight >= 0 for weight in weights) or not total > 0:
        raise SettingsError("weights: must be numbers from 0 on, one of them above it")
    for name, weight, length in zip(names, weights, lengths, strict=True):
        if weight and not length:
            raise SettingsError(f"weights: {name} has no samples, so it cannot have a weight")
    return tuple(weight / total for weight in weights)


def dataset(  # keywords of a person who trains, all but two of them rarely used
    names: Name | Sequence[Name],
    root: Name | None = None,
    *,
    weights: Weights | None = None,
    exclude: Listed | None = None,
    captions: Policy = "joined",
) -> Dataset:
    """Open datasets by name or group below a root, or folders and addresses with an `index.bin`, as one.

    `root`: the variable G3M_ROOT or `g3m-data` if None. `weights`: how much of an epoch comes from each
    dataset, by name or in their order. `exclude`: keys, or paths of lists of keys. `captions`: `joined`,
    `random` (one for each epoch) or `all`. UnknownDataset names what is not there.
    """
    folders = open_folders(names, root or os.environ.get("G3M_ROOT") or Settings().root)
    return Dataset(folders, weights=weights, excluded=exclude, captions=captions)
