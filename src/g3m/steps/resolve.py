"""resolve: names of datasets become a plan; every asset pinned, listings asked for once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from g3m.adapters.disk import read_document, write_document
from g3m.adapters.hubs import list_repository
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import SourceError, Unreachable
from g3m.core.plan import DatasetPlan, Parity, Plan, make_dataset_plan
from g3m.core.recipe import Asset, Listing, Recipe
from g3m.core.routes import Route, chosen, rewrite

LISTING_FORMAT = 1


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
    recipes = session.recipes.expand(names)
    return Plan(datasets=tuple(_resolve_one(recipe, session, estimate, note) for recipe in recipes))


def _resolve_one(
    recipe: Recipe, session: Session, estimate: bool, note: Callable[[str], None]
) -> DatasetPlan:
    parity: Parity = "nxtp" if session.settings.parity == "nxtp" else "none"
    if recipe.listing is None:
        return make_dataset_plan(recipe, recipe.assets, parity)
    try:
        assets = _listed(recipe, recipe.listing, session, keep=not estimate)
    except SourceError as error:
        if not estimate:
            raise
        why = f"the hub's listing cannot be asked for ({error.message})"
        note(f"{recipe.name}: {why}; the sizes are the recipe's")
        return make_dataset_plan(recipe, (), parity, estimated=True)
    return make_dataset_plan(recipe, assets, parity)


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
