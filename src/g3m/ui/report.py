"""Tables and pages of text: what there is, what it costs, what stands here. No decision is made here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from g3m.adapters.session import Session
from g3m.core.plan import DatasetPlan, Plan, asset_id
from g3m.core.receipt import Manifest
from g3m.core.recipe import Asset, Recipe
from g3m.core.routes import candidates
from g3m.runners.base import fetched_bytes, missing_bytes
from g3m.steps.check import manifests
from g3m.steps.memory import recall
from g3m.steps.publish import published
from g3m.steps.resolve import unprotected
from g3m.ui.figures import count_text, duration_text, size_text, table
from g3m.ui.state import state_of
from g3m.ui.words import Speaker

SPEED_BYTES_PER_S = 10_000_000


def list_rows(session: Session) -> list[dict[str, Any]]:
    """Every known dataset with its state under the root."""
    here = {body.dataset: body for body in manifests(session, ()).values()}
    rows = [
        {**dict.fromkeys(("expected_samples", "download_bytes")), **_own_row(body)}
        for name, body in here.items()
        if name not in session.recipes.names
    ]
    for name in session.recipes.names:
        recipe = session.recipes.get(name)
        body = here.get(name)
        rows.append(
            {
                "name": name,
                "title": recipe.title,
                "expected_samples": recipe.expect.samples,
                "download_bytes": _download_bytes(recipe),
                "state": state_of(name, body, session),
                "samples": body.samples if body else 0,
                "licence": recipe.licence,
            }
        )
    return rows


def _own_row(body: Manifest) -> dict[str, Any]:
    """The row of a dataset that was made from a recipe file of the user's."""
    facts = {"name": body.dataset, "title": body.title, "licence": body.licence}
    return {**facts, "state": "done", "samples": body.samples, "expected_samples": body.expected_samples}


def _download_bytes(recipe: Recipe) -> int | None:
    sizes = [asset.size_bytes for asset in recipe.assets]
    if sizes and None not in sizes:
        return sum(size or 0 for size in sizes)
    return recipe.expect.download_bytes


def list_lines(session: Session, speaker: Speaker) -> Iterator[str]:
    """`g3m list` for people."""
    rows = [
        (
            row["name"],
            count_text(row["expected_samples"]),
            size_text(row["download_bytes"]),
            speaker.say(f"state-{row['state']}")
            + (f" ({count_text(row['samples'])})" if row["samples"] else ""),
            row["title"],
        )
        for row in list_rows(session)
    ]
    yield from table(("dataset", "samples", "download", "here", "title"), rows, right=(1, 2))
    yield ""
    for name, members in session.recipes.groups.items():
        yield f"{name} = {' '.join(members)}"


def plan_lines(plan: Plan, session: Session, speaker: Speaker) -> Iterator[str]:
    """`g3m plan` for people."""
    rows = []
    for dataset in plan.datasets:
        about = "~" if dataset.estimated or dataset.download_bytes is None or _unpinned(dataset) else ""
        here = published(dataset, session) is not None
        rows.append(
            (
                dataset.name,
                count_text(dataset.recipe.expect.samples),
                count_text(dataset.files),
                _about(dataset.download_bytes, about),
                _about(dataset.shard_bytes, about),
                speaker.say("state-done") if here else size_text(_here(dataset, session)),
            )
        )
    head = ("dataset", "samples", "files", "download", "shards", "here")
    yield from table(head, rows, right=(1, 2, 3, 4, 5))
    yield ""
    yield from _plan_sums(plan, session, speaker)
    yield from _packing_lines(plan, speaker)
    yield from map(speaker.pick, unprotected([item.recipe for item in plan.datasets], session.settings))
    for dataset in plan.datasets:
        expect = dataset.recipe.expect
        if expect.source:
            yield f"{dataset.name}: {count_text(expect.samples)}: {expect.source}"
    yield ""
    for dataset in plan.datasets:
        yield f"{dataset.name}: {dataset.recipe.licence}"


def _packing_lines(plan: Plan, speaker: Speaker) -> Iterator[str]:
    """How each dataset is packed, and what is done with its pictures beyond the default."""
    ways = dict.fromkeys(dataset.packing for dataset in plan.datasets)
    for way in ways:
        names = ", ".join(dataset.name for dataset in plan.datasets if dataset.packing == way)
        yield f"{names}: {speaker.say(f'packing-{way}')}"
    for dataset in plan.datasets:
        if words := dataset.treatment.words():
            yield f"{dataset.name}: {words}"


def _about(size_bytes: int | None, about: str) -> str:
    return size_text(size_bytes) if size_bytes is None else about + size_text(size_bytes)


def _unpinned(dataset: DatasetPlan) -> bool:
    return any(asset.size_bytes is None for asset in dataset.assets)


def _here(dataset: DatasetPlan, session: Session) -> int:
    return sum(fetched_bytes(asset, session) for asset in dataset.assets)


def _speed(plan: Plan, session: Session, speaker: Speaker) -> tuple[float, str]:
    """What the routes of a plan carried last, or an assumption, and which of the two it is."""
    now_s, settings = session.now().timestamp(), session.settings
    places = {place for asset in plan.assets.values() for place in asset.places}
    routes = candidates(tuple(places), settings.endpoints, settings.mirrors, session.ways, settings.route)
    health, known = recall(session), {(route.place, route.way) for route in routes}
    seen = [health[key] for key in known if key in health and health[key].fresh(now_s)]
    if not seen:
        return SPEED_BYTES_PER_S, speaker.say("plan-assumed")
    # Not their sum: which of them a file can use, and how many share one line, is not known before.
    best = max(seen, key=lambda one: one.rate_bytes_per_s)
    return best.rate_bytes_per_s, speaker.say("plan-measured", age=duration_text(now_s - best.seen_s))


def _plan_sums(plan: Plan, session: Session, speaker: Speaker) -> Iterator[str]:
    once = {asset_id(asset): asset for asset in plan.assets.values()}
    unknown = sum(
        dataset.download_bytes or 0 for dataset in plan.datasets if dataset.estimated or _unpinned(dataset)
    )
    download = unknown + sum(asset.size_bytes or 0 for asset in once.values())
    open_datasets = [dataset for dataset in plan.datasets if published(dataset, session) is None]
    left_once = {asset_id(asset): asset for dataset in open_datasets for asset in dataset.assets}
    left = sum(
        max((asset.size_bytes or 0) - fetched_bytes(asset, session), 0) for asset in left_once.values()
    )
    left += sum(d.download_bytes or 0 for d in open_datasets if d.estimated or _unpinned(d))
    speed, since = _speed(plan, session, speaker)
    yield speaker.say(
        "plan-total",
        download=size_text(download),
        left=size_text(left),
        time=duration_text(left / speed),
        speed=size_text(speed),
        since=since,
    )
    free = session.store.free()
    inodes = "" if free.inodes is None else speaker.say("plan-inodes", count=count_text(free.inodes))
    yield speaker.say(
        "plan-disk",
        final=size_text(sum(dataset.shard_bytes or 0 for dataset in plan.datasets)),
        peak=size_text(sum(dataset.peak_bytes or 0 for dataset in plan.datasets)),
        free=size_text(free.size_bytes),
        root=session.store.root,
        inodes=inodes,
    )
    short = missing_bytes(plan, session)
    if short > 0:
        yield speaker.say("plan-short", missing=size_text(short))
    if any(dataset.estimated for dataset in plan.datasets):
        yield speaker.say("plan-estimated")
    yield speaker.say("plan-peak")


def info(recipe: Recipe, session: Session) -> dict[str, Any]:
    """Everything that a recipe says, and what of it is here."""
    here = {body.dataset: body for body in manifests(session, ()).values()}.get(recipe.name)
    listing = recipe.listing
    return {
        "name": recipe.name,
        "title": recipe.title,
        "folder": recipe.folder,
        "homepage": recipe.homepage,
        "licence": recipe.licence,
        "terms": recipe.terms,
        "expected_samples": recipe.expect.samples,
        "expected_source": recipe.expect.source,
        "reader": recipe.samples.reader,
        "form": recipe.form,
        "forms": {
            name: {"reader": form.samples.reader, "assets": _assets(form.assets)}
            for name, form in recipe.forms.items()
        },
        "assets": _assets(recipe.assets),
        "listing": None
        if listing is None
        else {"repository": listing.repository, "revision": listing.revision, "include": listing.include},
        "here": None
        if here is None
        else {
            "samples": here.samples,
            "shards": len(here.shards),
            "rejected": here.rejected,
            "notes": here.notes,
            "findings": here.findings,
            "treatment": here.treatment.to_dict(),
        },
        "citation": recipe.citation,
    }


def _assets(assets: Sequence[Asset]) -> list[dict[str, Any]]:
    return [
        {
            "name": asset.name,
            "size_bytes": asset.size_bytes,
            "digests": [str(digest) for digest in asset.digests],
            "places": list(asset.places),
        }
        for asset in assets
    ]


def findings_text(body: Manifest, speaker: Speaker) -> str:
    """What was found in what was packed, on one line; empty if nothing was."""
    parts = [
        speaker.say(f"finding-{done}", name=name, count=count_text(count))
        for name, counts in (body.findings or {}).items()
        for done, count in counts.items()
    ]
    return speaker.say("findings-comma").join(parts)


def info_lines(recipe: Recipe, session: Session, speaker: Speaker) -> Iterator[str]:
    """`g3m info` for people."""
    facts = info(recipe, session)
    yield f"{recipe.name}: {recipe.title}" + (f" (--source {recipe.form})" if recipe.form else "")
    yield f"  folder    {recipe.folder}"
    if recipe.homepage:
        yield f"  homepage  {recipe.homepage}"
    yield f"  licence   {recipe.licence}"
    yield f"  samples   {count_text(recipe.expect.samples)}: {recipe.expect.source or '?'}"
    if facts["here"]:
        yield f"  here      {count_text(facts['here']['samples'])} in {facts['here']['shards']} shards"
        borrowed = facts["here"]["notes"].get("from_peer", 0)
        if borrowed:
            yield f"  proof     shards taken on the word of a peer: {borrowed}"
    if recipe.listing:
        listing = recipe.listing
        yield f"  listing   {listing.repository} at {listing.revision}, {listing.include}"
    for asset in recipe.assets:
        yield f"  asset     {asset.name}  {size_text(asset.size_bytes)}"
        for digest in asset.digests:
            yield f"            {digest}"
        for place in asset.places:
            yield f"            {place}"
    for name, form in recipe.forms.items():
        if name != recipe.form:
            count = count_text(form.expect.samples)
            yield f"  --source {name}  {count}: {form.expect.source or '?'}"
    yield ""
    yield recipe.terms_zh if speaker.lang == "zh" and recipe.terms_zh else recipe.terms
    if recipe.citation:
        yield ""
        yield recipe.citation
