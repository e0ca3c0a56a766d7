"""Shows a dataset's terms before its first download, and remembers that they were shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from g3m.adapters.disk import read_document, write_document
from g3m.core.errors import Refused
from g3m.core.recipe import Recipe
from g3m.ui.options import Context


def agree(recipes: Sequence[Recipe], context: Context, *, ask: bool) -> None:
    """Show the terms not shown yet on this root; on a terminal ask once, elsewhere go on.

    Raises Refused (exit code 4) if the answer is no. Nothing has been fetched by then.
    """
    path = context.session.store.work / "terms.json"
    seen = _seen(read_document(path))
    new = [recipe for recipe in recipes if recipe.terms and recipe.name not in seen]
    if not new:
        return
    speaker = context.speaker
    for recipe in new:
        terms = recipe.terms_zh if speaker.lang == "zh" and recipe.terms_zh else recipe.terms
        head = speaker.say("terms", name=recipe.name, licence=recipe.licence)
        click.echo(f"{head}\n{_indent(terms)}\n", err=True)
    click.echo(speaker.say("terms-voluntary"), err=True)
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    if ask and interactive and not click.confirm(speaker.say("proceed"), default=True, err=True):
        raise Refused(speaker.say("declined"))
    context.session.store.prepare()
    write_document(path, json.dumps({"shown": sorted(seen | {recipe.name for recipe in new})}) + "\n")


def _seen(text: str | None) -> set[str]:
    try:
        return set(json.loads(text or "")["shown"])
    except (ValueError, KeyError, TypeError):
        return set()


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
