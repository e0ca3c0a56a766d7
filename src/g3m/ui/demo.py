"""`g3m demo`: the whole way in a minute, offline, with everything that usually goes wrong on it.

What is shown here is the real thing: the same recipes with other figures, the same fetch, the same
packing. Only the hosts are played by a local origin, and the pictures are drawn.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from g3m.adapters.catalog import FILE, open_catalog
from g3m.adapters.pixels import Preprocess, floats, pixels
from g3m.adapters.session import Session
from g3m.core.errors import NotVerified
from g3m.core.events import Event, Noted, Retrying, RouteDropped, TaskFinished
from g3m.core.order import Order, Share, batches
from g3m.lab.mischief import Cut, Flip, Status
from g3m.lab.weblists import PICTURES
from g3m.lab.world import World
from g3m.load.dataset import dataset
from g3m.runners.index import catalog_in
from g3m.runners.run import get_in, make_session, verify_in
from g3m.runners.search import asked, search_in
from g3m.steps.resolve import resolve
from g3m.ui.figures import size_text, table
from g3m.ui.gather import reason_lines
from g3m.ui.logs import fact_text
from g3m.ui.report import plan_lines
from g3m.ui.web.export import export
from g3m.ui.web.server import opened
from g3m.ui.words import Speaker

DATASETS = ("all",)
LISTS = ("laion115m",)
SAMPLES = 64
TRAINED = ("cc3m", "sbu", "coco")
BATCH = 16
BATCH_PIXELS = 224
QUERY = "orange diamond"
EXPORTED = 5


@dataclass(slots=True)
class _Stage:
    """Prints the numbered steps of the demo with their times."""

    number: int = 0
    started_s: float = 0.0

    def begin(self, title: str) -> None:
        self.number += 1
        self.started_s = time.monotonic()
        click.secho(f"\n{self.number}  {title}", bold=True)

    def end(self, text: str) -> None:
        click.echo(f"   {text} ({time.monotonic() - self.started_s:.1f} s)")


def run_demo(keep: Path | None, speaker: Speaker) -> None:
    """Show everything; raises if anything is not as it should be, so it is a test of the installation too."""
    with tempfile.TemporaryDirectory(prefix="g3m-demo-") as temporary:
        _tell(keep or Path(temporary), speaker)
    click.echo()
    if keep:
        click.echo(f"{keep / 'pages' / 'index.html'}")
        click.echo(f"{keep / 'data'}")
    click.echo(speaker.say("demo-next"))


def _tell(folder: Path, speaker: Speaker) -> None:
    stage, started_s = _Stage(), time.monotonic()
    stage.begin("A local internet: a hub, S3, Google storage and Kaggle on 127.0.0.1")
    with World(folder, samples=SAMPLES) as world:
        drawn = sum(path.stat().st_size for path in world.sources.files)
        stage.end(f"{SAMPLES} drawn pictures a source with true captions, {size_text(drawn)}")
        session = make_session({"root": str(folder / "data"), **world.options}, world.variables)
        _plan(stage, session, speaker)
        _fetch(stage, world, session)
        _again(stage, world, session)
        _gather(stage, world, folder, speaker)
    _damage_and_repair(stage, folder, speaker)
    _list(stage, session)
    _look(stage, session, folder / "pages", speaker)
    _batch(stage, TRAINED, session.settings.root, speaker)
    click.echo(f"\nDone in {time.monotonic() - started_s:.1f} s.")


def _plan(stage: _Stage, session: Session, speaker: Speaker) -> None:
    stage.begin("g3m plan all")
    for line in plan_lines(resolve(DATASETS, session), session, speaker):
        if not line:
            break
        click.echo(f"   {line}")


def _fetch(stage: _Stage, world: World, session: Session) -> None:
    stage.begin("g3m get all, over a bad line")
    size = world.sources.coco.valid.stat().st_size
    world.origin.mischief("*/val2017.zip", Cut(after_bytes=size * 6 // 10))
    world.origin.mischief("*/train2017.zip", Flip(offset=size // 3))
    world.origin.mischief("*/validation.tar.gz", Status(503, retry_after=1))
    click.echo(
        "   the origin will cut val2017.zip at 60 %, send one wrong byte in train2017.zip, answer 503 once"
    )
    summary = get_in(DATASETS, session, [_narrate(click.echo)])
    samples = sum(body.samples for body in summary.manifests.values())
    shards = sum(len(body.shards) for body in summary.manifests.values())
    stage.end(f"{len(summary.manifests)} datasets, {samples} samples in {shards} shards, every byte verified")
    told = [request for request in world.origin.requests if "authorization" in request.headers]
    if not all(request.path.startswith("/api/v1/datasets/download/") for request in told):
        raise NotVerified(f"the Kaggle key went astray: {told}")
    requests = len(world.origin.requests)
    click.echo(f"   {len(told)} of {requests} requests carried the Kaggle key: the one to Kaggle's own host")


def _narrate(echo: Callable[[str], object]) -> Callable[[Event], None]:
    def show(event: Event) -> None:
        if isinstance(event, (Noted, Retrying, RouteDropped)):
            echo(f"   {fact_text(event)}")
        elif isinstance(event, TaskFinished) and event.kind == "publish":
            echo(f"   published {event.output}")

    return show


def _again(stage: _Stage, world: World, session: Session) -> None:
    stage.begin("The same line again")
    world.origin.forget_requests()
    get_in(DATASETS, session, [])
    stage.end(f"nothing to do, {len(world.origin.requests)} requests")


def _gather(stage: _Stage, world: World, folder: Path, speaker: Speaker) -> None:
    stage.begin("g3m get laion115m: a list of URLs, one of them dead and one hostile")
    # Only a lab's own addresses are private; strangers' lists are not let there.
    options = {"root": str(folder / "data"), "allow_private": True, **world.options}
    summary = get_in(LISTS, make_session(options, world.variables), [])
    (body,) = summary.manifests.values()
    for line in reason_lines(body.rejected, speaker):
        click.echo(f" {line}")
    if (body.samples, sorted(body.rejected)) != (PICTURES, ["bad_url", "http_404"]):
        raise NotVerified(f"the list gave {body.samples} samples, and left out {body.rejected}")
    stage.end(f"{body.samples} pictures of {body.seen} rows; the table beside the shard says which")


def _damage_and_repair(stage: _Stage, folder: Path, speaker: Speaker) -> None:
    stage.begin("g3m verify --repair, after a byte on the disk went wrong")
    with World(folder, samples=SAMPLES) as world:
        session = make_session({"root": str(folder / "data"), **world.options}, world.variables)
        shard = session.store.root / "coco" / "coco_valid" / "00000.tar"
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
        found = verify_in([], session, [], deep=False, repair=False)
        for finding in found.findings:
            values = {"shard": finding.shard, "problem": finding.problem, "detail": ""}
            click.echo("   " + speaker.say("verify-found", name=finding.dataset, **values).rstrip())
        repaired = verify_in([], session, [], deep=True, repair=True)
        if len(found.findings) != 1 or not repaired.ok:
            raise NotVerified(f"the demo's repair went wrong: {found.findings}, {repaired.findings}")
    stage.end("made again from its archive, all pictures decode")


def _list(stage: _Stage, session: Session) -> None:
    stage.begin("What stands on the disk")
    rows = [
        (str(path.relative_to(session.store.root)), size_text(path.stat().st_size))
        for path in sorted(session.store.root.glob("*/*/*.tar"))
    ]
    for line in table(("shard", "size"), rows, right=(1,)):
        click.echo(f"   {line}")


def _look(stage: _Stage, session: Session, pages: Path, speaker: Speaker) -> None:
    stage.begin(f"g3m index --pictures; g3m search {QUERY!r}; g3m view --export")
    made = catalog_in([], session, [], pictures=True)
    click.echo(f"   the catalog has {made.samples} samples; every picture was decoded")
    with open_catalog(session.store.work / FILE) as catalog:
        hits = search_in(catalog, asked(catalog, QUERY), session.store.root, made.samples)
        names = [row.name for row in catalog.datasets()]
    with dataset(names, session.settings.root) as data:
        captions = [data[number].text.lower() for number in range(len(data))]
    read = sum(all(word in caption for word in QUERY.split()) for caption in captions)
    if not len(hits) == read > 0:
        raise NotVerified(f"the search for {QUERY!r} found {len(hits)} samples, the shards hold {read}")
    click.echo(f"   {len(hits)} found, as many as the shards hold; the first: {hits[0].caption!r}")
    with opened(session) as (collection, pictures):
        copied = export(collection, pictures, pages, samples=EXPORTED, language=speaker.lang)
    shown = f"{copied.pages} pages with {copied.pictures} pictures"
    stage.end(f"{shown}, {size_text(copied.size_bytes)}, which open without a server")


def _batch(stage: _Stage, names: tuple[str, ...], root: str, speaker: Speaker) -> None:
    stage.begin("A first batch for a model, of three datasets mixed")
    with dataset(names, root) as data:
        (numbers,) = batches(Order(data.lengths), 0, Share(0, 1, BATCH))[:1]
        shapes = {floats(pixels(data[number].image, Preprocess(BATCH_PIXELS))).shape for number in numbers}
        if shapes != {(3, BATCH_PIXELS, BATCH_PIXELS)}:
            raise NotVerified(f"the first batch has pictures of other sizes: {shapes}")
        mixed = {data[number].dataset for number in numbers}
        size = f"{BATCH} x 3 x {BATCH_PIXELS} x {BATCH_PIXELS}"
        stage.end(f"{size}, of {len(data)} samples, from {', '.join(sorted(mixed))}")
        if find_spec("torch") is None:
            click.echo("   " + speaker.say("demo-torch"))
            return
        from g3m.load.torch import loader

        with loader(data, batch_size=BATCH, image_size=BATCH_PIXELS) as loading:
            images, captions, keys = next(iter(loading))
        if (
            tuple(images.shape) != (BATCH, 3, BATCH_PIXELS, BATCH_PIXELS)
            or not len(captions) == len(keys) == BATCH
        ):
            raise NotVerified(f"the loader's first batch is of shape {tuple(images.shape)}")
        click.echo(f"   {tuple(images.shape)} {images.dtype}, {keys[0]}: {str(captions[0])[:50]!r}")
