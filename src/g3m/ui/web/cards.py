"""The cards of the first page: what is here of each dataset, what is not, and why.

From manifests, from the receipts of what is not finished, from recipes, and from the catalog's own counts.
"""

from __future__ import annotations

from dataclasses import replace

from g3m.core.dropped import Record
from g3m.core.errors import G3MError
from g3m.core.recipe import Recipe
from g3m.ui.state import dataset_status, state_of
from g3m.ui.web.current import Current, Home
from g3m.ui.web.facts import Card, Rewriting

FIRST = 5
"""So many pictures stand on a card."""

LOOKED_THROUGH = 100
"""Among so many samples they are looked for."""


def cards(current: Current) -> list[Card]:
    """One for each dataset here, then for each that was begun, then for each that is only known."""
    session, homes = current.session, current.homes()
    known = {name: session.recipes.get(name) for name in session.recipes.names}
    catalog = current.catalog()
    rows = {row.name: row for row in catalog.datasets()} if catalog else {}
    made = []
    for name, home in homes.items():
        card, row = _here(name, home, current, known.get(name)), rows.get(name)
        if row is not None:
            looked = row.shards > 0 and row.looked == row.shards
            card = replace(card, catalogued=row.samples, looked=looked)
        made.append(card)
    begun = sorted(path.parent.name for path in session.store.work.glob("receipts/*/arrange.json"))
    others = [name for name in dict.fromkeys((*known, *begun)) if name not in homes]
    states = {name: state_of(name, None, session) for name in others}
    made += [_begun(name, current, known.get(name)) for name in others if states[name] == "part"]
    return made + [_known(name, known.get(name)) for name in others if states[name] == "none"]


def _here(name: str, home: Home, current: Current, recipe: Recipe | None) -> Card:
    body, problem, folder, record, first = home.body, "", None, Record(), list[int]()
    try:
        record = current.record(name)
        with current.reading(name) as folder:
            seen = range(min(len(folder), LOOKED_THROUGH))
            first = [number for number in seen if folder.key(number) not in record]
    except Rewriting:
        pass
    except G3MError as error:
        problem = error.message
    samples = body.samples if body else len(folder) if folder else 0
    return Card(
        name=name,
        title=body.title if body else name,
        state="done",
        folder=str(home.folder),
        # Those of which the record names a shard are in none any more.
        samples=samples - sum(not drop.shard for drop in record.drops.values()),
        expected=body.expected_samples if body else None,
        expected_source=body.expected_source if body else "",
        size_bytes=body.size_bytes if body else folder.size_bytes if folder else 0,
        shards=len(body.shards) if body else len(folder.shards) if folder else 0,
        licence=body.licence if body else recipe.licence if recipe else "",
        homepage=body.homepage if body else "",
        missing=body.rejected if body else {},
        findings=(body.findings or {}) if body else {},
        is_recipe=recipe is not None,
        first=tuple(first[:FIRST]),
        problem=problem,
        is_rewriting=bool(record.rewriting),
        dropped=len(record),
    )


def _begun(name: str, current: Current, recipe: Recipe | None) -> Card:
    """What the receipts of its tasks say; its shards are opened when all of them are there."""
    receipts = current.session.store.receipt(name, "x").parent
    stamp = str(receipts.stat().st_mtime_ns)
    facts = current.kept(("begun", name), stamp, lambda: dataset_status(name, None, None, current.session))
    card = _known(name, recipe)
    return replace(
        card,
        state="part",
        samples=facts["samples"],
        shards=facts["shards"],
        planned_shards=facts["planned_shards"],
        missing=facts["rejected"],
    )


def _known(name: str, recipe: Recipe | None) -> Card:
    if recipe is None:
        return Card(name=name, title=name, state="none")
    return Card(
        name=name,
        title=recipe.title,
        state="none",
        expected=recipe.expect.samples,
        expected_source=recipe.expect.source,
        licence=recipe.licence,
        homepage=recipe.homepage,
        is_recipe=True,
    )
