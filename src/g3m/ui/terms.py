"""Shows a dataset's terms before its first download, and remembers that they were shown."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence

import click

from g3m.adapters.disk import read_document, write_document
from g3m.core.errors import Refused
from g3m.core.recipe import Recipe
from g3m.ui.options import Context
from g3m.ui.words import printable

WIDTH = 100


def agree(recipes: Sequence[Recipe], context: Context, *, ask: bool) -> None:
    """Show the terms not shown yet on this root; on a terminal ask once, elsewhere go on.

    Raises Refused (exit code 4) if the answer is no. Nothing has been fetched by then.
    """
    path = context.session.store.work / "terms.json"
    seen = _seen(read_document(path))
    new = [recipe for recipe in recipes if recipe.terms and _key(recipe) not in seen]
    if not new:
        return
    speaker = context.speaker
    # Several datasets of one source have the same terms: they are read once.
    for (licence, terms), names in _by_terms(new, chinese=speaker.lang == "zh").items():
        head = speaker.say("terms", name=", ".join(names), licence=licence)
        click.echo(printable(f"{head}\n{_wrapped(terms)}\n"), err=True)
    click.echo(speaker.say("terms-voluntary"), err=True)
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    if ask and interactive and not click.confirm(speaker.say("proceed"), default=True, err=True):
        raise Refused(speaker.say("declined"))
    context.session.store.prepare()
    write_document(path, json.dumps({"shown": sorted(seen | {_key(recipe) for recipe in new})}) + "\n")


def _key(recipe: Recipe) -> str:
    """Another source of a dataset has terms of its own."""
    return f"{recipe.name} --source {recipe.form}" if recipe.form else recipe.name


def _seen(text: str | None) -> set[str]:
    try:
        return set(map(str, json.loads(text or "")["shown"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()


def _by_terms(recipes: Sequence[Recipe], *, chinese: bool) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for recipe in recipes:
        terms = recipe.terms_zh if chinese and recipe.terms_zh else recipe.terms
        found.setdefault((recipe.licence, terms), []).append(recipe.name)
    return found


def _wrapped(text: str) -> str:
    width = min(shutil.get_terminal_size().columns, WIDTH)
    return textwrap.fill(" ".join(text.split()), width, initial_indent="  ", subsequent_indent="  ")
