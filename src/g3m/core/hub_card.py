"""A dataset card for Hugging Face: the front matter that `datasets` and the hub read, and a page for people.

It stands above the datasets, not in their folders: the README.md of each is made by core/card.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from g3m.core.errors import UsageError
from g3m.core.neighbours import HINT_NAME, MARK, Part, below, by_split, check_name

LICENCES = {
    "CC0": "cc0-1.0",
    "CC0 1.0": "cc0-1.0",
    "CC BY 2.0": "cc-by-2.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
    "CC BY-NC 4.0": "cc-by-nc-4.0",
    "MIT": "mit",
    "Apache-2.0": "apache-2.0",
}
"""Licences whose whole statement is such a name; a longer statement says more than an identifier could."""

TASKS = ("image-to-text", "text-to-image")
ALL = "all"
"""The configuration with everything of a split."""

COLUMNS = ("txt", "__key__", "__url__")

_GLOB = re.compile(r"([*?\[])")


def licence_id(parts: Sequence[Part]) -> str:
    """The hub's word for the licence that all parts are under; `unknown` if none is stated, else `other`."""
    stated = {part.licence.strip() for part in parts}
    if all(not text or text.lower().startswith(("none", "unknown")) for text in stated):
        return "unknown"
    found = {LICENCES.get(text, "other") for text in stated}
    return found.pop() if len(found) == 1 else "other"


def size_category(samples: int) -> str:
    """The hub's word for so many samples.

    >>> size_category(999), size_category(5_000), size_category(3_645_221)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    if samples < 1000:
        return "n<1K"
    steps = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    number = len(str(samples)) - 4
    return f"{steps[number]}<n<{steps[number + 1]}" if number + 1 < len(steps) else "n>1T"


def hub_card(parts: Sequence[Part], files: Sequence[Sequence[str]]) -> str:
    """The README.md; `files` are the data files of each part, as patterns from the card on or whole paths."""
    lines = ["---", *_front(parts, files), "---", "", *_page(parts)]
    return "\n".join(lines)


def _front(parts: Sequence[Part], files: Sequence[Sequence[str]]) -> Iterator[str]:
    named = {part.name: paths for part, paths in zip(parts, files, strict=True)}
    yield f"# By `{MARK} hf`; what is below is replaced by the next one."
    yield f"license: {licence_id(parts)}"
    yield "task_categories:"
    yield from (f"- {task}" for task in TASKS)
    yield "size_categories:"
    yield f"- {size_category(sum(part.samples for part in parts))}"
    yield f"pretty_name: {_yaml(', '.join(part.title or part.name for part in parts))}"
    yield "tags:"
    yield "- webdataset"
    yield "configs:"
    groups = _groups(parts)
    for number, (name, members) in enumerate(groups):
        yield f"- config_name: {_yaml(name)}"
        if number == 0 and len(groups) > 1:
            yield "  default: true"
        yield "  data_files:"
        for split, own in by_split(members).items():
            yield f"  - split: {split}"
            yield "    path:"
            for part in own:
                yield from (f"    - {_yaml(path)}" for path in named[part.name])
    yield "dataset_info:"
    yield from _infos(parts)


def _groups(parts: Sequence[Part]) -> list[tuple[str, list[Part]]]:
    """The configurations: everything first if there is more than one dataset, then each."""
    groups = [(part.name, [part]) for part in parts]
    if len(parts) > 1 and all(part.name != ALL for part in parts):
        groups.insert(0, (ALL, list(parts)))
    return groups


def _infos(parts: Sequence[Part]) -> Iterator[str]:
    """Counts, which `datasets` compares with what it reads; and columns where those of datasets may differ.

    Otherwise the first samples of all would decide which columns the others have.
    """
    for name, members in _groups(parts):
        yield f"- config_name: {_yaml(name)}"
        if len(members) > 1:
            images = dict.fromkeys(image for part in members for image in part.images)
            columns = [*((image, "image") for image in images), *((text, "string") for text in COLUMNS)]
            yield "  features:"
            for column, kind in columns:
                yield f"  - name: {column}"
                yield f"    dtype: {kind}"
        yield "  splits:"
        for split, own in by_split(members).items():
            yield f"  - name: {split}"
            yield f"    num_examples: {sum(part.samples for part in own)}"


def patterns(part: Part, folder: str, alone: bool) -> list[str]:
    """A part's shards as glob patterns from `folder` on: one pattern where they are `alone`, else each.

    `alone` says that no other tar lies in the part's folder, so that all of its tars may be taken.
    """
    for path in part.paths:
        check_name(path, part.name)
        if _GLOB.search(folder) and below(path, folder) != path:
            raise UsageError(f"{folder}: `datasets` cannot read a folder with * ? or [", hint=HINT_NAME)
    if alone and all("/" not in shard.name and shard.name.endswith(".tar") for shard in part.shards):
        inside = "" if part.place == folder.rstrip("/") else _plain(below(part.place, folder)) + "/"
        return [f"{inside}*.tar"]
    return [_plain(below(path, folder)) for path in part.paths]


def _plain(path: str) -> str:
    return _GLOB.sub(r"[\1]", path)


def _page(parts: Sequence[Part]) -> Iterator[str]:
    yield f"# {', '.join(part.name for part in parts)}"
    yield ""
    yield "WebDataset shards of pictures with captions, packed by g3m. Loads with"
    yield "`datasets.load_dataset(FOLDER, NAME)`; names and splits:"
    yield ""
    yield "| name | split | samples | shards | bytes | licence |"
    yield "| --- | --- | --: | --: | --: | --- |"
    for part in parts:
        row = (part.name, part.split, part.samples, len(part.shards), part.size_bytes, _cell(part.licence))
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    for part in parts:
        yield from ("", f"## {part.name}", "")
        if part.title:
            yield from (part.title, "")
        if part.homepage:
            yield from (f"Homepage: {part.homepage}", "")
        yield f"Licence: {part.licence or 'none stated'}"
        if part.terms:
            yield from ("", part.terms)
        if part.citation:
            yield from ("", "```bibtex", part.citation, "```")
    yield ""


def _cell(text: str) -> str:
    return (text or "none stated").replace("|", "\\|").replace("\n", " ")


def _yaml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
