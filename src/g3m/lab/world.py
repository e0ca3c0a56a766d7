"""The datasets of G3M in miniature: drawn sources behind a local internet, with recipes that fit.

    with World(Path("/tmp/world")) as world:
        session = make_session({"root": "data", **world.options}, world.variables)

The recipes are the built-in ones with the sizes, digests and counts of the drawn files: the same
places, readers and folders. Settings alone lead to 127.0.0.1: mirrors for the web hosts, endpoints for
the hub and Kaggle. `g3m demo`, `python -m g3m.lab`, whole-way tests and benchmarks begin here.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from g3m.adapters.recipes import builtin_files, read_toml
from g3m.lab.origin import Origin
from g3m.lab.sources import Cc3m, Coco, OpenImages, cc3m, coco, open_images, sbu
from g3m.lab.weblists import LAION, PICTURES, SBU, draw_pictures, rows_of, write_laion, write_sbu

CC3M_REPOSITORY = "pixparse/cc3m-wds"
CC3M_COMMIT = "46f3d69f840e59d77d52e8decfe5baec97e94c7f"
SBU_DATASET = "akashnuka/sbucaptions"
KAGGLE_USERNAME = "demo"
KAGGLE_KEY = "0123456789abcdef0123456789abcdef"  # nobody's: the lab invents its own account
PART_BYTES = 64 * 1024
"""COCO and Open Images were uploaded in parts, so their ETags are no MD5: the lab's neither."""

PREFIXES = {
    "https://s3.amazonaws.com/": "/s3/",
    "http://images.cocodataset.org/": "/s3/images.cocodataset.org/",
    "https://open-images-dataset.s3.amazonaws.com/": "/s3/open-images-dataset/",
    "https://storage.googleapis.com/": "/gcs/",
    "https://www.cs.rice.edu/": "/rice/",
}
BLIP = "sfr-vision-language-research/BLIP/datasets"


@dataclass(frozen=True, slots=True)
class Sources:
    """The drawn files."""

    coco: Coco
    open_images: OpenImages
    cc3m: Cc3m
    sbu: Path
    web: Path
    """A folder of pictures; lists of their URLs are written when their host has a port."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that a recipe names by name."""
        both = (self.open_images.images, self.open_images.narratives)
        return (self.coco.train, self.coco.valid, self.coco.annotations, *both)


def draw_sources(folder: Path, samples: int = 24, sbu_form: int = 1, seed: int = 0) -> Sources:
    """Write every source with about `samples` samples each; 24 take well under two seconds."""
    return Sources(
        coco=coco(folder / "coco", train=samples, valid=samples, seed=seed),
        open_images=open_images(folder / "open_images", samples, repeats=2, seed=seed),
        cc3m=cc3m(folder / "cc3m", 2, 1, samples=(samples + 1) // 2, seed=seed),
        sbu=sbu(folder / "sbu", sbu_form, samples, seed=seed),
        web=draw_pictures(folder / "web", min(samples, PICTURES), seed=seed),
    )


class World:
    """A context manager: the sources are drawn when it is made, and served inside the block."""

    def __init__(self, folder: Path, samples: int = 24, sbu_form: int = 1, port: int = 0) -> None:
        self.sources = draw_sources(folder / "sources", samples, sbu_form)
        self.recipes = folder / "recipes"
        self.origin = Origin(port)
        _write_recipes(self.recipes, self.sources)

    def __enter__(self) -> World:
        origin = self.origin.__enter__()
        drawn = self.sources
        zips = f"{PREFIXES['http://images.cocodataset.org/']}zips"
        for path in (drawn.coco.train, drawn.coco.valid):
            origin.mount(f"{zips}/{path.name}", path, part_bytes=PART_BYTES)
        annotations = f"/s3/images.cocodataset.org/annotations/{drawn.coco.annotations.name}"
        origin.mount(annotations, drawn.coco.annotations, part_bytes=PART_BYTES)
        archive = drawn.open_images.images
        origin.mount(f"/s3/open-images-dataset/tar/{archive.name}", archive, part_bytes=PART_BYTES)
        narratives = drawn.open_images.narratives
        origin.mount(f"/gcs/localized-narratives/annotations/{narratives.name}", narratives, google=True)
        origin.hub(CC3M_REPOSITORY, CC3M_COMMIT, drawn.cc3m.folder)
        origin.kaggle(SBU_DATASET, drawn.sbu, KAGGLE_USERNAME, KAGGLE_KEY)
        self._mount_lists(origin)
        return self

    def _mount_lists(self, origin: Origin) -> None:
        """The pictures behind the lists of laion115m and SBU, and those lists."""
        web = self.sources.web
        origin.mount("/web", web)
        rows = rows_of(web, f"{origin.url}/web")
        laion = write_laion(web.parent / LAION, rows)
        origin.mount(f"/gcs/{BLIP}/{LAION}", laion, google=True)
        origin.mount(f"/rice/~vo9/sbucaptions/{SBU}", write_sbu(web.parent / SBU, rows))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.origin.__exit__(kind, error, traceback)

    @property
    def options(self) -> dict[str, Any]:
        """The settings that lead here, as keyword options or as a config file's keys."""
        url = self.origin.url
        return {
            "recipes": [str(self.recipes)],
            "mirrors": [{"prefix": prefix, "places": [url + path]} for prefix, path in PREFIXES.items()],
            "hub_endpoint": url,
            "kaggle_endpoint": self._kaggle,
        }

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a user who has a Kaggle account and no proxy."""
        host = self._kaggle.partition("://")[2]
        account = {"KAGGLE_USERNAME": KAGGLE_USERNAME, "KAGGLE_KEY": KAGGLE_KEY}
        return {**account, "G3M_KAGGLE_TOKEN_HOSTS": host}

    @property
    def _kaggle(self) -> str:
        """Another name for the same listener: to a client it is another host, as Kaggle is."""
        return self.origin.url.replace("127.0.0.1", "localhost")

    def config(self, **more: Any) -> str:
        """The same settings as the text of a `g3m.toml`."""
        return to_toml({**self.options, **more})


def _write_recipes(folder: Path, sources: Sources) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in builtin_files():
        raw = read_toml(path)
        if "groups" not in raw:
            (folder / path.name).write_text(to_toml(_fit(raw, sources)), encoding="utf-8")


def _fit(raw: dict[str, Any], sources: Sources) -> dict[str, Any]:
    """A built-in recipe with the figures of the drawn files."""
    files = {path.name: path for path in sources.files}
    for asset in raw.get("assets", ()):
        if asset["name"] in files:
            data = files[asset["name"]].read_bytes()
            asset["size_bytes"] = len(data)
            asset["digests"] = [f"sha256:{hashlib.sha256(data).hexdigest()}"]
    for form in raw.get("forms", {}).values():
        form.pop("expect", None)
        for asset in form["assets"]:
            asset.pop("digests", None)  # these files name the port of their host
    rule = raw["samples"]
    if "captions_digest" in rule:
        member = rule["captions"].partition("/")[2]
        with zipfile.ZipFile(sources.coco.annotations) as archive:
            digest = hashlib.sha256(archive.read(member)).hexdigest()
        rule["captions_digest"] = f"sha256:{digest}"
    for key in ("samples", "source", "download_bytes", "files"):
        raw["expect"].pop(key, None)
    raw["title"] += " (drawn)"
    return raw


def to_toml(document: Mapping[str, Any]) -> str:
    """A TOML document of texts, numbers, lists, tables and lists of tables."""
    return "\n".join(_toml_lines(document, "")) + "\n"


def _toml_lines(table: Mapping[str, Any], path: str) -> list[str]:
    plain = {key: value for key, value in table.items() if not _is_table(value)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in table.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *_toml_lines(value, name)]
        elif _is_table(value):
            for item in value:
                lines += ["", f"[[{name}]]", *_toml_lines(item, name)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
    )
