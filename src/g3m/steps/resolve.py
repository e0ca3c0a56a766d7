"""resolve: names of datasets become a plan; every asset pinned, listings asked for once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from g3m.adapters.disk import read_document, write_document
from g3m.adapters.hubs import list_repository
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import Bilingual, SettingsError, SourceError, Unreachable
from g3m.core.gathering import READER as URLS
from g3m.core.gathering import Columns, ListSource, gather_plan, gathering_for, treatment_of_rows
from g3m.core.members import refuse_name
from g3m.core.plan import DatasetPlan, Parity, Plan, asset_id, make_dataset_plan
from g3m.core.recipe import Asset, Listing, Recipe, choose_form
from g3m.core.routes import Route, address, chosen, in_the_clear, rewrite
from g3m.core.settings import Settings
from g3m.core.treatment import treatment_for
from g3m.steps.streamed import is_begun

LISTING_FORMAT = 1
READY_HINT = (
    "leave --policy and --image-size out for them; `g3m pack` re-packs ready shards and can treat them",
    "对这些数据集请去掉 --policy 和 --image-size；`g3m pack` 可重新打包现成分片并做相应处理",
)


def resolve(
    names: Sequence[str],
    session: Session,
    *,
    estimate: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> Plan:
    """The plan for datasets, groups and recipe files.

    With `estimate` nothing is written, and where a listing cannot be asked for the dataset stands in
    the plan with the recipe's figures and `note` is told; without it SourceError is raised.
    """
    recipes = choose_form(session.recipes.expand(names), session.settings.form)
    check_treatment(recipes, session.settings)
    datasets = (_resolve_one(recipe, session, estimate, note) for recipe in recipes)
    # What was begun as a stream goes on as one: what it has taken out is nowhere else.
    return Plan(
        datasets=tuple(
            replace(dataset, stream=session.settings.stream or is_begun(dataset.name, session))
            for dataset in datasets
        )
    )


def unprotected(recipes: Sequence[Recipe], settings: Settings) -> tuple[Bilingual, ...]:
    """What is to be said of each mirror or endpoint with plain http that brings what nothing pins."""
    found: dict[str, list[str]] = {}
    for recipe in recipes:
        places = [place for asset in recipe.assets if not asset.digests for place in asset.places]
        urls = [address(place, settings.endpoints) for place in places]
        if recipe.listing is not None:  # what it says pins all files
            urls.append(settings.hub_endpoint.rstrip("/") + "/")
        for host in in_the_clear(one for url in urls for one in rewrite(url, settings.mirrors)):
            found.setdefault(host, []).append(recipe.name)
    return tuple(_in_words(host, ", ".join(names)) for host, names in found.items())


def _in_words(host: str, names: str) -> Bilingual:
    return (
        f"http://{host}: nothing pins what comes from there ({names}); it can be altered on the way",
        f"http://{host}：其内容没有固定的校验值（{names}），途中可能被篡改",
    )


def check_treatment(recipes: Sequence[Recipe], settings: Settings) -> None:
    """SettingsError if a source or a treatment is asked for that the datasets cannot have."""
    recipes = choose_form(recipes, settings.form)
    treatments = {recipe.name: treatment_for(recipe.policy, settings) for recipe in recipes}
    ready = [recipe.name for recipe in recipes if recipe.samples.reader == "shards"]
    refused = [name for name in ready if treatments[name].to_dict()]
    if refused:
        asked = treatments[refused[0]].words()
        words = f"ready shards are adopted byte for byte, they cannot be treated ({asked})"
        raise SettingsError(f"{', '.join(refused)}: {words}", hint=READY_HINT)


def _resolve_one(
    recipe: Recipe, session: Session, estimate: bool, note: Callable[[str], None]
) -> DatasetPlan:
    parity: Parity = "nxtp" if session.settings.parity == "nxtp" else "none"
    if recipe.samples.reader == URLS:
        return _rows(recipe, session)
    treatment = treatment_for(recipe.policy, session.settings)
    if recipe.listing is None:
        return make_dataset_plan(recipe, recipe.assets, parity, treatment=treatment)
    try:
        assets = _listed(recipe, recipe.listing, session, keep=not estimate)
    except SourceError as error:
        if not estimate:
            raise
        why = f"the hub's listing cannot be asked for ({error.message})"
        note(f"{recipe.name}: {why}; the sizes are the recipe's")
        return make_dataset_plan(recipe, (), parity, treatment=treatment, estimated=True)
    return make_dataset_plan(recipe, assets, parity, treatment=treatment)


def _rows(recipe: Recipe, session: Session) -> DatasetPlan:
    """A dataset of URLs: its lists are its assets, in their order."""
    rule = recipe.samples
    columns = Columns(url=rule.url or "url", caption=rule.caption or "caption", sha256=rule.sha256)
    sources = [
        ListSource(name=asset.name, asset=asset_id(asset), size_bytes=asset.size_bytes or 0)
        for asset in recipe.assets
    ]
    gathering = gathering_for(columns, session.settings)
    return gather_plan(recipe, sources, gathering, treatment_of_rows(recipe.policy, session.settings))


def _listed(recipe: Recipe, listing: Listing, session: Session, *, keep: bool) -> tuple[Asset, ...]:
    """The assets of a listing: kept from an earlier run, since a commit never changes, or asked for."""
    path = session.store.plan(f"{recipe.name}.listing.json")
    assets = _read(read_document(path), listing)
    if assets:
        return assets
    if session.settings.offline:
        raise Unreachable(f"the listing of {listing.repository} is not here, and --offline forbids to ask")
    errors: list[SourceError] = []
    for route in _routes(session):
        try:
            assets = list_repository(session.http, route.url, route.proxy, listing, session.check_stop)
            break
        except SourceError as error:
            errors.append(error)
    else:
        raise errors[0] if errors else Unreachable(f"--route leaves no way to {listing.repository}")
    if not assets:
        raise Unreachable(f"{listing.repository}: the listing holds no file that fits {listing.include!r}")
    if keep and session.store.root.is_dir():
        write_document(path, _write(assets, listing))
    return assets


def _routes(session: Session) -> tuple[Route, ...]:
    """Every way to the hub and to the user's mirrors of it, the preferred first."""
    settings = session.settings
    endpoints = rewrite(settings.hub_endpoint.rstrip("/") + "/", settings.mirrors)
    routes = [Route(endpoint, way) for endpoint in endpoints for way in session.ways.of(endpoint)]
    return chosen(routes, settings.route)


def _write(assets: Sequence[Asset], listing: Listing) -> str:
    rows = [[asset.name, asset.size_bytes, str(asset.digests[0])] for asset in assets]
    head = {"format": LISTING_FORMAT, "repository": listing.repository, "revision": listing.revision}
    return json.dumps({**head, "include": listing.include, "files": rows}) + "\n"


def _read(text: str | None, listing: Listing) -> tuple[Asset, ...]:
    try:
        body = json.loads(text or "")
        head = (body["format"], body["repository"], body["revision"], body["include"])
        if head != (LISTING_FORMAT, listing.repository, listing.revision, listing.include):
            return ()
        if any(refuse_name(name) or type(size) is not int or size < 0 for name, size, _ in body["files"]):
            return ()
        return tuple(
            Asset(
                name=name,
                places=(f"hub://{listing.repository}@{listing.revision}/{name}",),
                size_bytes=size_bytes,
                digests=(Digest.parse(digest),),
            )
            for name, size_bytes, digest in body["files"]
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
