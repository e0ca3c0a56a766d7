"""Reads recipes and groups: those inside the package, and the user's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from g3m.adapters.plain import open_plain
from g3m.core.errors import RecipeError, UnknownDataset
from g3m.core.recipe import Recipe, parse, suggest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GROUPS_FILE = "groups.toml"
LIMIT_BYTES = 2**18
_DOTS_LIMIT = 500
"""In one line: tomllib takes minutes for a key of many thousand parts."""

_WORDS_CHARACTERS = 300


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML document; RecipeError names the file and the line that does not parse."""
    try:
        with open_plain(path) as file:
            data = file.read(LIMIT_BYTES + 1)
        if len(data) > LIMIT_BYTES:
            raise RecipeError(f"{path}: more than {LIMIT_BYTES} bytes are no recipe and no settings")
        if max(map(_dots, data.splitlines()), default=0) > _DOTS_LIMIT:
            raise RecipeError(f"{path}: not a TOML document: a line of more than {_DOTS_LIMIT} dots")
        body: dict[str, Any] = tomllib.loads(data.decode())
        return body
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from None
    except RecursionError:
        raise RecipeError(f"{path}: not a TOML document: brackets too deep") from None
    except ValueError as error:  # also a number of too many digits
        raise RecipeError(f"{path}: not a TOML document: {str(error)[:_WORDS_CHARACTERS]}") from None


def _dots(line: bytes) -> int:
    return line.count(b".")


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file; RecipeError lists every problem with its key's path."""
    return parse(read_toml(path), file=str(path))


def builtin_files() -> tuple[Path, ...]:
    """The recipe files inside the package, and the groups."""
    return tuple(sorted(Path(str(resources.files("g3m.recipes"))).glob("*.toml")))


class Recipes:
    """The recipes that can be named: built in, then those of the user's folders, which win."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._files = {path.stem: path for path in builtin_files()}
        groups = read_toml(self._files.pop(Path(GROUPS_FILE).stem))["groups"]
        for folder in folders:
            if not folder.is_dir():
                raise RecipeError(f"{folder}: the recipes folder of the config file is not there")
            self._files |= {path.stem: path for path in sorted(folder.glob("*.toml"))}
        self.groups: dict[str, tuple[str, ...]] = {name: tuple(members) for name, members in groups.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Every dataset that has a recipe."""
        return tuple(self._files)

    def path(self, name: str) -> Path:
        """The recipe file of a dataset; UnknownDataset offers the nearest name."""
        if name not in self._files:
            near = suggest(name, [*self._files, *self.groups])
            raise UnknownDataset(f"no dataset, group or recipe file is called {name!r}{near}")
        return self._files[name]

    def get(self, name: str) -> Recipe:
        """The recipe of a dataset."""
        path = self.path(name)
        recipe = read_recipe(path)
        if recipe.name != name:
            raise RecipeError(f"{path}: name: must be {name!r} like the file, not {recipe.name!r}")
        return recipe

    def expand(self, names: Sequence[str]) -> tuple[Recipe, ...]:
        """The recipes behind names of datasets, groups (`g3m`, `eval`, `all`) and recipe files, each once."""
        found: dict[str, Recipe] = {}
        for name in names:
            if name in self.groups:
                members = [self.get(member) for member in self.groups[name]]
            elif name.endswith(".toml"):
                members = [read_recipe(Path(name))]
            else:
                members = [self.get(name)]
            found.update({recipe.name: recipe for recipe in members})
        return tuple(found.values())
