"""What a user names, as folders: datasets and groups below a root, paths, addresses."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Union

from g3m.adapters.plain import read_plain
from g3m.adapters.recipes import Recipes
from g3m.core.errors import Bilingual, SettingsError, UnknownDataset
from g3m.core.receipt import manifest
from g3m.core.recipe import suggest
from g3m.load.folder import INDEX, MANIFEST, Folder, absolute, is_url, open_folder, tail

Name = Union[str, "os.PathLike[str]"]

_HINT_WHICH: Bilingual = (
    "give the path of the folder instead of the name",
    "请改为给出目录路径",
)


def open_folders(names: Name | Sequence[Name], root: Name) -> tuple[Folder, ...]:
    """The folders behind names, each once; UnknownDataset lists all names that are missing."""
    asked = [names] if isinstance(names, (str, os.PathLike)) else list(names)
    if not asked:
        raise SettingsError("dataset: no name is given")
    below = _Root(os.fspath(root))
    places: list[str] = []
    missing: list[str] = []
    for name in asked:
        text = os.fspath(name)
        if is_url(text):
            places.append(text.rstrip("/"))
        elif not isinstance(name, str) or os.sep in text or text in {".", ".."} or text.startswith("~"):
            places.append(_path(text))
        else:
            for member in below.members(text):
                found = below.find(member)
                (places if found else missing).append(found or member)
    if missing:
        raise below.unknown(list(dict.fromkeys(missing)))
    return tuple(map(open_folder, dict.fromkeys(places)))


def distinct_names(folders: Sequence[Folder]) -> tuple[str, ...]:
    """A name for each folder; those of one name are told apart by as much of their paths as it takes."""
    names = [folder.name for folder in folders]
    for name in set(names):
        alike = [number for number, other in enumerate(names) if other == name]
        longest = max(folders[number].place.count("/") for number in alike)
        for depth in range(1, longest + 2) if len(alike) > 1 else ():
            tails = [tail(folders[number].place, depth) for number in alike]
            if len(set(tails)) == len(tails):
                for number, made in zip(alike, tails, strict=True):
                    names[number] = made
                break
    if len(set(names)) < len(names):
        raise SettingsError(f"dataset: a folder is named twice: {', '.join(f.shown for f in folders)}")
    return tuple(names)


class _Root:
    """The datasets below a root, and what else a plain name may mean."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/") if is_url(root) else os.path.expanduser(root)
        self._recipes = Recipes()
        self._found: dict[str, list[str]] | None = None

    def members(self, name: str) -> tuple[str, ...]:
        """The datasets of a group, or the name itself."""
        return self._recipes.groups.get(name, (name,))

    def find(self, name: str) -> str | None:
        """Where a dataset is; None if it is nowhere, UnknownDataset if several folders could be meant."""
        if is_url(self._root):
            return f"{self._root}/{self._recipes.get(name).folder}"
        found = self._standing().get(name, [])
        if len(found) > 1:
            raise UnknownDataset(f"{name!r} is the name of {' and '.join(found)}", hint=_HINT_WHICH)
        if found or name in self._recipes.names:
            return absolute(found[0]) if found else None
        foreign = (folder for folder in (os.path.join(self._root, name), name) if _has_index(folder))
        return next(map(absolute, foreign), None)

    def unknown(self, names: Sequence[str]) -> UnknownDataset:
        """The error that says what is missing, and the line that gets it."""
        verb = "is" if len(names) == 1 else "are"
        where = self._root if os.path.isdir(self._root) else f"{self._root}, which is no folder"
        text = f"{', '.join(map(repr, names))} {verb} not under {where}"
        known = [*self._recipes.names, *self._recipes.groups, *self._standing()]
        for name in names:
            if name not in known:
                text += suggest(name, known)
            elif os.path.isdir(folder := os.path.join(self._root, self._recipes.get(name).folder)):
                text += f"; {folder} is not finished"
        line = shlex.join(["g3m", "get", *names, "--root", self._root])
        return UnknownDataset(text, hint=(f"`{line}` makes what is missing", f"请先运行 `{line}`"))

    def _standing(self) -> dict[str, list[str]]:
        if self._found is None:
            self._found = _below(self._root)
        return self._found


def _below(root: str) -> dict[str, list[str]]:
    """The folders of each dataset below a root; where one is as the manifest says, copies do not count."""
    found: dict[str, list[str]] = {}
    home: dict[str, list[str]] = {}
    for path in _manifests(Path(root)):
        try:
            body = manifest(read_plain(path).decode("utf-8", "replace"))
        except OSError:
            continue
        if body is not None:
            found.setdefault(body.dataset, []).append(str(path.parent))
            if path.parent == Path(root) / body.folder:
                home[body.dataset] = [str(path.parent)]
    return found | home


def _manifests(root: Path) -> Iterable[Path]:
    """Where manifests stand below a root; what is hidden is not looked at."""
    for pattern in (MANIFEST, f"*/{MANIFEST}", f"*/*/{MANIFEST}"):
        for path in sorted(root.glob(pattern)):
            if not any(part.startswith(".") for part in path.relative_to(root).parts):
                yield path


def _has_index(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, INDEX))


def _path(text: str) -> str:
    """A path that a user gave; UnknownDataset says so if it is a root and not the folder of a dataset."""
    place = absolute(text)
    if os.path.isdir(place) and not _has_index(place):
        names = sorted(_below(place))
        if names:
            hint = f"g3m.dataset({names!r}, root={text!r})"
            raise UnknownDataset(
                f"{place}: is no dataset, but datasets lie below it: {', '.join(names)}",
                hint=(f"`{hint}` opens them", f"请使用 `{hint}`"),
            )
    return place
