"""One peer's own loader over what was exported: prints as JSON which samples it gave.

Run by the peer's interpreter: `python neighbours_programs.py PEER JSON`. A sample is told by its key and
caption; where the peer hands out the picture's bytes, by their sha256 as well. Nothing of g3m is imported.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from typing import Any

Row = list[str]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def webdataset(job: dict[str, Any]) -> dict[str, list[Row]]:
    """The printed module, imported: each dataset, and each split by its joined addresses."""
    import webdataset as wds

    module: dict[str, Any] = {}
    exec(job["text"], module)  # it is what a user imports
    found = dict(module["URLS"])
    found |= {name.lower(): module[name] for name in ("TRAIN", "VALIDATION") if name in module}

    def rows(urls: str | list[str]) -> list[Row]:
        data = wds.WebDataset(urls, shardshuffle=False, empty_check=True)
        return [[one["__key__"], one["txt"].decode(), sha(picture(one))] for one in data]

    return {name: rows(urls) for name, urls in found.items()}


def picture(sample: dict[str, Any]) -> bytes:
    return next(bytes(sample[name]) for name in ("jpg", "png", "webp") if name in sample)


def datasets(job: dict[str, Any]) -> dict[str, list[Row]]:
    """`load_dataset` on the folder of the card: every configuration and split that the card names."""
    import datasets as hf

    hf.disable_progress_bars()
    found: dict[str, list[Row]] = {}
    for name in hf.get_dataset_config_names(job["folder"]):
        loaded = hf.load_dataset(job["folder"], name, cache_dir=job["cache"])
        for split, rows in loaded.items():
            images = [column for column in rows.column_names if column in ("jpg", "png")]
            for column in images:
                rows = rows.cast_column(column, hf.Image(decode=False))  # noqa: PLW2901
            kind = split if name == "all" else name
            found[kind] = [
                [row["__key__"], row["txt"], sha(next(row[one]["bytes"] for one in images if row[one]))]
                for row in rows
            ]
    return found


def wids(job: dict[str, Any]) -> dict[str, list[Row]]:
    """Each list of shards, by number from the last sample to the first."""
    import io

    import wids as library

    found = {}
    for name, path in job["lists"].items():
        data = library.ShardListDataset(path, transformations=[])
        rows = [data[number] for number in reversed(range(len(data)))]
        found[name] = [
            [one["__key__"], _read(one[".txt"], io).decode(), sha(_read(_image(one), io))] for one in rows
        ]
    return found


def _image(sample: dict[str, Any]) -> Any:
    return next(sample[name] for name in (".jpg", ".png", ".webp") if name in sample)


def _read(value: Any, io: Any) -> bytes:
    return value.read() if isinstance(value, io.IOBase) else bytes(value)


def open_clip(job: dict[str, Any]) -> dict[str, Any]:
    """Its own reading of the options: addresses, `sizes.json`, counts, and every pair of the loader."""
    import argparse
    import shlex

    from torchvision_operators import declare

    declare()
    from open_clip_train import data

    words = shlex.split(job["text"].replace("\\\n", " "))  # as a shell does
    given = {
        word[2:].replace("-", "_"): words[at + 1]
        for at, word in enumerate(words)
        if word.startswith("--") and at + 1 < len(words)
    }
    found: dict[str, Any] = {}
    for split, kind in (("train", "train"), ("validation", "val")):
        if f"{kind}_data" not in given:
            continue
        args = argparse.Namespace(
            train_data=given[f"{kind}_data"], val_data=given[f"{kind}_data"], workers=1, batch_size=1,
            train_num_samples=int(given[f"{kind}_num_samples"]), val_num_samples=None, seed=0, world_size=1,
            dataset_resampled=False, train_data_upsampling_factors=None, distributed=False,
        )  # fmt: skip
        train = data.get_wds_dataset(args, _nothing, is_train=True, tokenizer=_as_it_is)
        whole = data.get_wds_dataset(args, _nothing, is_train=False, tokenizer=_as_it_is)
        texts = [text for _, batch in whole.dataloader for text in batch]
        found[split] = [["", text] for text in texts]
        found[f"{split}-epoch"] = train.dataloader.num_samples
        if f"{kind}_data_upsampling_factors" in given:
            factors = given[f"{kind}_data_upsampling_factors"]
            urls, weights = data.expand_urls(given[f"{kind}_data"], factors)
            found[f"{split}-weights"] = dict(zip(urls, weights, strict=True))
    for name, path in job["single"].items():
        found[f"{name}-sizes"] = data.get_dataset_size(path)[0]
    return found


def _nothing(image: Any) -> Any:
    import torch

    return torch.zeros(1) + image.size[0]


class _AsItIs:
    def __call__(self, text: str) -> list[str]:
        return [text]


_as_it_is = _AsItIs()


def energon(job: dict[str, Any]) -> dict[str, list[Row]]:
    """Each dataset and the blend, for one epoch of each part."""
    from megatron.energon import WorkerConfig, get_loader, get_train_dataset, get_val_dataset

    config = WorkerConfig(rank=0, world_size=1, num_workers=0)
    plain = {"worker_config": config, "batch_size": 1}

    def rows(path: str, split: str) -> list[Row]:
        if split == "train":
            once = {"shuffle_buffer_size": 16, "max_samples_per_sequence": None, "repeat": False}
            data = get_loader(get_train_dataset(path, **plain, **once))
        else:
            data = get_loader(get_val_dataset(path, **plain, split_part="val"))
        return [[key.rpartition("/")[2], text] for batch in data for key, text in _pairs(batch)]

    found = {name: rows(path, split) for name, (path, split) in job["datasets"].items()}
    found |= {split: rows(job["blend"], split) for split in job["splits"]}
    return found


def _pairs(batch: Any) -> list[tuple[str, str]]:
    assert batch.image.shape[0] == len(batch.caption)
    return list(zip(batch.__key__, batch.caption, strict=True))


def croissant(job: dict[str, Any]) -> dict[str, list[Row]]:
    """The document, validated and read: pictures and captions of each dataset, put together by their keys."""
    import io

    import mlcroissant

    loaded = mlcroissant.Dataset(job["path"])
    found: dict[str, list[Row]] = {}
    sets = {str(one.id) for one in loaded.metadata.record_sets}
    for name in job["names"]:
        captions = _records(loaded, f"{name}/txt_records", "txt")
        pictures = _records(loaded, f"{name}/images_records", "image")
        if f"{name}/json_records" in sets:
            assert _records(loaded, f"{name}/json_records", "json").keys() == captions.keys()
        assert all(image.load() for image in pictures.values()), io
        assert pictures.keys() == captions.keys()
        found[name] = [[key, text.decode()] for key, text in captions.items()]
    return found


def _records(loaded: Any, name: str, field: str) -> dict[str, Any]:
    found = {}
    for record in loaded.records(name):
        key = record[f"{name}/key"]
        found[key.decode() if isinstance(key, bytes) else str(key)] = record[f"{name}/{field}"]
    return found


PEERS = {
    "webdataset": (webdataset, "webdataset"),
    "datasets": (datasets, "datasets"),
    "wids": (wids, "webdataset"),
    "open_clip": (open_clip, "open_clip_torch"),
    "energon": (energon, "megatron-energon"),
    "croissant": (croissant, "mlcroissant"),
}

if __name__ == "__main__":
    run, package = PEERS[sys.argv[1]]
    gave = run(json.loads(sys.argv[2]))
    print(json.dumps({"version": version(package), "gave": gave}))
