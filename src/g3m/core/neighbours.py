"""What other programs want to be told about shards that stand already, as text: addresses, counts, tables.

NXTP's loader, webdataset, open_clip and wids are spoken to here; Megatron-Energon in core/energon.py, Hugging
Face's card in core/hub_card.py, Croissant in core/croissant.py. A name that a program could not read back as
it is, is refused with the reason. Files are for steps/export.py.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from g3m.core.errors import Bilingual, UsageError
from g3m.core.index import pictures
from g3m.core.shard import ShardSummary

SPLITS = ("train", "validation", "test")
MARK = "g3m export"
"""Stands in every file that an export writes into a folder of the user's, so that only those are replaced."""

NXTP_FIELDS = ("jpg", "txt")
OPEN_CLIP_IMAGES = ("jpg", "png", "jpeg", "webp")
_SPLIT = re.compile(r"(?:^|[^a-z])(?:(val|valid|validation|dev)|(test))(?:[^a-z]|$)")
_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)
_BRACES = re.compile(r"([\\{}])")
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_URL_SIGNS = re.compile(r"[?#;%]|^[^/]*:")

HINT_NAME: Bilingual = (
    "rename the folder, or give one without such signs: a symbolic link to it will do",
    "请重命名该目录，或改用不含此类字符的路径（符号链接即可）",
)
_HINT_FIELDS: Bilingual = (
    "`g3m pack` can write the pictures anew, with --image-size as .jpg; or use another format",
    "`g3m pack` 可重新写入图片（使用 --image-size 时为 .jpg）；或改用其他格式",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One dataset as an export sees it; `place` is the whole path of its folder, `folder` that from the root.

    `fields` are the extensions that some sample has, `common` those that each has. Where nobody has stated a
    shard's digest its `sha256` is empty.
    """

    name: str
    place: str
    folder: str
    shards: tuple[ShardSummary, ...]
    split: str = "train"
    fields: tuple[str, ...] = ("jpg", "json", "txt")
    common: tuple[str, ...] = ("jpg", "json", "txt")
    title: str = ""
    licence: str = ""
    homepage: str = ""
    terms: str = ""
    citation: str = ""

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    @property
    def size_bytes(self) -> int:
        return sum(shard.size_bytes for shard in self.shards)

    @property
    def images(self) -> tuple[str, ...]:
        """The extensions of its pictures, the preferred first."""
        return tuple(pictures(self.fields))

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the shards lie."""
        return tuple(posixpath.join(self.place, shard.name) for shard in self.shards)


def split_of(name: str, stated: str = "") -> str:
    """Which split a dataset is, from the recipe's word or its name: `train`, `validation` or `test`.

    >>> split_of("coco_valid"), split_of("x", "val2017"), split_of("validity"), split_of("mine-test")
    ('validation', 'validation', 'train', 'test')
    """
    found = _SPLIT.search(re.sub("[0-9]+$", "", stated.lower()) or name.lower())
    if found is None:
        return "train"
    return "validation" if found[1] else "test"


def by_split(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """The parts of each split that there is."""
    found = {split: [part for part in parts if part.split == split] for split in SPLITS}
    return {split: members for split, members in found.items() if members}


def braces(names: Sequence[str]) -> list[str]:
    r"""Names as patterns with braces where they are numbered on, in their order; other braces are escaped.

    >>> braces(["a-08.tar", "a-09.tar", "a-11.tar", "{x}.tar"])
    ['a-{08..09}.tar', 'a-11.tar', '\\{x\\}.tar']
    """
    patterns: list[str] = []
    for run in _runs(names):
        if len(run) == 1:
            patterns.append(escaped(run[0]))
            continue
        before, first, after = _numbered(run[0])
        last = _numbered(run[-1])[1]
        patterns.append(f"{escaped(before)}{{{first}..{last}}}{escaped(after)}")
    return patterns


def escaped(text: str) -> str:
    """Text in which a reader of brace patterns finds no pattern."""
    return _BRACES.sub(r"\\\1", text)


def _numbered(name: str) -> tuple[str, str, str]:
    found = _NUMBERED.fullmatch(name)
    return (found[1], found[2], found[3]) if found else (name, "", "")


def _runs(names: Sequence[str]) -> Iterator[list[str]]:
    """Names that differ in their last number only, which goes up by one and keeps its width."""
    run = list(names[:1])
    for before, name in pairwise(names):
        (head, number, tail), (next_head, next_number, next_tail) = _numbered(before), _numbered(name)
        same = (head, tail, len(number)) == (next_head, next_tail, len(next_number))
        if same and number and int(next_number) == int(number) + 1:
            run.append(name)
        else:
            yield run
            run = [name]
    if run:
        yield run


def check_name(text: str, what: str) -> None:
    """UsageError for a path that no line of text and no YAML could hold."""
    if _CONTROL.search(text):
        raise UsageError(f"{what}: {text!r} holds a control character or no valid text", hint=HINT_NAME)


def address(part: Part) -> str | list[str]:
    """A part's shards as one string for programs that expand braces, or as a list where `::` is in a name."""
    for path in part.paths:
        check_name(path, part.name)
    if any("::" in path for path in part.paths):
        return list(part.paths)
    return "::".join(braces(part.paths))


def nxtp(parts: Sequence[Part]) -> str:
    """A table like that in NXTP's loader, with counts that were measured: a module, or lines to paste."""
    lines = [
        f"# By `{MARK} nxtp`: lengths are counted; roots are below NXTP's data_root, or whole paths.",
        "_DATASETS_META = {",
    ]
    for part in parts:
        need(part, NXTP_FIELDS, "NXTP's loader")
        check_name(part.folder, part.name)
        # The loader looks names up in lower case.
        entry = f'{{"length": {part.samples}, "root": {quoted(part.folder)}}}'
        lines.append(f"    {quoted(part.name.lower())}: {entry},")
    return "\n".join([*lines, "}", ""])


def webdataset(parts: Sequence[Part]) -> str:
    """A Python module: addresses and counts of each dataset, of each split, and the lines that load one."""
    lines = [f"# By `{MARK} webdataset`; addresses are of this machine.", "URLS = {"]
    lines += [f"    {quoted(part.name)}: {_python(address(part))}," for part in parts]
    lines += ["}", "SAMPLES = {"]
    lines += [f"    {quoted(part.name)}: {part.samples}," for part in parts]
    lines.append("}")
    for split, members in by_split(parts).items():
        lines.append(f"{split.upper()} = {_python(_joined([address(part) for part in members], members))}")
        lines.append(f"{split.upper()}_SAMPLES = {sum(part.samples for part in members)}")
    first = next(iter(by_split(parts))).upper()
    used = tuple(dict.fromkeys(name for part in parts for name in part.images))
    wanted = ";".join(used or ("jpg",))
    lines += [
        "",
        "# import webdataset",
        f'# webdataset.WebDataset({first}, shardshuffle=100).decode("pil").to_tuple("{wanted}", "txt")',
        "",
    ]
    return "\n".join(lines)


def _joined(addresses: Sequence[str | list[str]], parts: Sequence[Part]) -> str | list[str]:
    texts = [item for item in addresses if isinstance(item, str)]
    if len(texts) == len(addresses):
        return "::".join(texts)
    return [path for part in parts for path in part.paths]


def open_clip(parts: Sequence[Part], factors: Mapping[str, float] | None = None) -> str:
    """Options of open_clip's training: addresses, measured counts, and with `factors` the sampling."""
    lines: list[str] = []
    for split, members in by_split(parts).items():
        if split == "test":
            continue
        kind = "train" if split == "train" else "val"
        lines += [f"--{kind}-data {shlex.quote(_open_clip_address(members))}"]
        lines += [f"--{kind}-num-samples {sum(part.samples for part in members)}"]
        if factors and kind == "train":
            weights = [f"{factors.get(part.name, 1):g}" for part in members for _ in braces(part.paths)]
            lines += [
                "--dataset-resampled",
                f"--train-data-upsampling-factors {'::'.join(weights)}",
            ]
    if not lines:
        raise UsageError("open_clip has options for training and for validation, none for a test set")
    return " \\\n".join([*lines, "--dataset-type webdataset"]) + "\n"


def _open_clip_address(parts: Sequence[Part]) -> str:
    found = []
    for part in parts:
        if "txt" not in part.fields or not set(part.fields) & set(OPEN_CLIP_IMAGES):
            raise lacks(part, f"open_clip needs txt and one of {', '.join(OPEN_CLIP_IMAGES)}")
        text = address(part)
        if not isinstance(text, str):
            raise UsageError(f"{part.place}: open_clip takes `::` for the end of a name", hint=HINT_NAME)
        found.append(text)
    return "::".join(found)


def wids(parts: Sequence[Part], folder: str) -> str:
    """A list of shards for wids, to stand in `folder`: what lies below it gets a relative address."""
    shards = []
    for part in parts:
        for shard, path in zip(part.shards, part.paths, strict=True):
            check_name(path, part.name)
            url = below(path, folder)
            # wids takes each for an address: it would cut the path at such a sign.
            if _URL_SIGNS.search(url) or _URL_SIGNS.search(path):
                raise UsageError(f"{path}: wids cannot read a path with ? # ; % or :", hint=HINT_NAME)
            shards.append({"url": url, "nsamples": shard.samples})
    name = "+".join(part.name for part in parts)
    return (
        json.dumps({"wids_version": 1, "name": name, "made_by": MARK, "shardlist": shards}, indent=1) + "\n"
    )


def below(path: str, folder: str) -> str:
    """The path as seen from a folder if it lies below it, else as it is.

    >>> below("/data/coco/0.tar", "/data"), below("/other/0.tar", "/data")
    ('coco/0.tar', '/other/0.tar')
    """
    start = folder.rstrip("/") + "/"
    return path.removeprefix(start)


def need(part: Part, wanted: Iterable[str], who: str) -> None:
    """UsageError if a sample may lack one of these fields."""
    missing = [name for name in wanted if name not in part.common]
    if missing:
        raise lacks(part, f"{who} needs {', '.join(wanted)} in every sample")


def lacks(part: Part, problem: str) -> UsageError:
    """The error for a part that a program cannot use."""
    return UsageError(f"{part.name}: {problem}; there is {', '.join(part.fields)}", hint=_HINT_FIELDS)


def quoted(text: str) -> str:
    """A string as Python, JSON and YAML read it."""
    return json.dumps(text, ensure_ascii=False)


def _python(value: str | list[str]) -> str:
    if isinstance(value, str):
        return quoted(value)
    return "[" + ", ".join(quoted(item) for item in value) + "]"
