"""From a command line to a session: flags made from the table of settings, layers merged."""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from g3m.core.errors import RecipeError, SettingsError
from g3m.core.settings import OPTIONS, Layer, Option, Settings, from_variables, merge
from g3m.ui.words import Speaker, language, printable

if TYPE_CHECKING:
    from g3m.adapters.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])
CONFIG_NAME = "g3m.toml"
OUTPUT_SCHEMA = 1
METAVARS = {
    "root": "DIR",
    "source": "[DATASET=]PATH",
    "proxy": "URL",
    "peer": "URL",
    "route": "PATTERN",
    "policy": "CLASS=ACTION",
    "image_size": "PIXELS",
    "bwlimit": "RATE",
    "max_time": "TIME",
}

json_flag = click.option(
    "--json", "json", is_flag=True, help="Print JSON on stdout; its schema is versioned."
)
quiet_flag = click.option("-q", "--quiet", is_flag=True, help="Print no progress and no messages.")


def print_json(body: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    click.echo(jsonlib.dumps({"schema": OUTPUT_SCHEMA, **body}, ensure_ascii=True))


def print_lines(lines: Iterable[str]) -> None:
    """Lines on stdout, without what a terminal would obey."""
    for line in lines:
        click.echo(printable(line))


def setting_flags(*names: str) -> Callable[[Command], Command]:
    """The flags of some settings, made from the table."""
    wanted = [option for option in OPTIONS if option.name in names]

    def add(command: Command) -> Command:
        for option in reversed(wanted):
            command = _flag(option)(command)
        return command

    return add


def _flag(option: Option) -> Callable[[Command], Command]:
    words = option.help + (f" [{option.variable}]" if option.variable else "")
    if isinstance(option.default, bool):
        return click.option(option.flag, option.name, is_flag=True, default=None, help=words)
    kind: Any = click.Choice([c for c in option.choices if c]) if option.choices else None
    if kind is None:
        kind = {int: int, float: float}.get(type(option.default), str)
    metavar = None if option.choices else METAVARS.get(option.name)
    repeated = isinstance(option.default, tuple)
    return click.option(
        option.flag, option.name, type=kind, multiple=repeated, default=None, help=words, metavar=metavar
    )


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Merge the layers: flags, variables, ./g3m.toml, the user's config file."""
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    layers = [Layer("command line", given), from_variables(os.environ)]
    layers += [Layer(str(path), read, shared=path == Path(CONFIG_NAME)) for path, read in config_files()]
    return merge(layers)


def config_files() -> list[tuple[Path, dict[str, Any]]]:
    """The config files that exist, the stronger first."""
    import platformdirs

    from g3m.adapters.recipes import read_toml

    paths = [Path(CONFIG_NAME), Path(platformdirs.user_config_dir("g3m"), "config.toml")]
    try:
        return [(path, read_toml(path)) for path in paths if path.is_file()]
    except RecipeError as error:
        raise SettingsError(error.message) from None


@dataclass(slots=True)
class Context:
    """What a command works with."""

    session: Session
    speaker: Speaker
    json: bool = False
    quiet: bool = False

    def say(self, key: str, **values: object) -> None:
        """A result, to stdout; nothing under --json or -q."""
        if not self.json and not self.quiet:
            click.echo(printable(self.speaker.say(key, **values)))

    def tell(self, text: str) -> None:
        """A message, to stderr."""
        if not self.quiet:
            click.echo(printable(text), err=True)


def open_context(flags: Mapping[str, Any], *, json: bool = False, quiet: bool = False) -> Context:
    """The session and the language for a command's flags."""
    from g3m.adapters.session import open_session

    settings = load_settings(flags)
    return Context(open_session(settings), Speaker(language(settings.lang, os.environ)), json, quiet)
