"""g3m: from public sources to verified WebDataset shards of image-caption pairs.

    import g3m
    g3m.plan(["coco_valid"]).to_dict()
    g3m.get(["coco_valid"], root="data", on_event=print)
    g3m.pack("coco_valid", to="small", root="data", image_size=256)
    g3m.gather("pairs.parquet", to="mine", caption="text", image_size=512)
    g3m.verify(root="data").ok
    g3m.export("nxtp", ["coco_valid"], root="data").text
    data = g3m.dataset("coco_valid", root="data")
    for images, captions, keys in g3m.loader(data, batch_size=32): ...

Importing this package reads nothing and imports nothing heavy; each name is loaded at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "G3MError",
    "PartialError",
    "dataset",
    "drop",
    "export",
    "gather",
    "get",
    "index",
    "leaks",
    "loader",
    "pack",
    "plan",
    "search",
    "sql",
    "stats",
    "verify",
    "view",
]

if TYPE_CHECKING:
    from g3m.core.errors import G3MError, PartialError
    from g3m.load.dataset import dataset
    from g3m.load.torch import loader
    from g3m.runners.drop import drop
    from g3m.runners.export import export
    from g3m.runners.gather import gather
    from g3m.runners.index import index
    from g3m.runners.pack import pack
    from g3m.runners.run import get, plan, verify
    from g3m.runners.search import search, sql
    from g3m.runners.stats import leaks, stats
    from g3m.ui.web.server import view

_HOMES = {
    "G3MError": "g3m.core.errors",
    "PartialError": "g3m.core.errors",
    "dataset": "g3m.load.dataset",
    "drop": "g3m.runners.drop",
    "export": "g3m.runners.export",
    "gather": "g3m.runners.gather",
    "get": "g3m.runners.run",
    "index": "g3m.runners.index",
    "leaks": "g3m.runners.stats",
    "loader": "g3m.load.torch",
    "pack": "g3m.runners.pack",
    "plan": "g3m.runners.run",
    "search": "g3m.runners.search",
    "sql": "g3m.runners.search",
    "stats": "g3m.runners.stats",
    "verify": "g3m.runners.run",
    "view": "g3m.ui.web.server",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'g3m' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
