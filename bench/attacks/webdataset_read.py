"""Reads shards with webdataset, in its own environment: [--decode] URL...; prints the digests of samples."""

from __future__ import annotations

import hashlib
import json
import sys

import webdataset as wds

if __name__ == "__main__":
    urls = [word for word in sys.argv[1:] if word != "--decode"]
    data = wds.WebDataset(urls, shardshuffle=False, empty_check=False)
    if "--decode" in sys.argv:
        data = data.decode()
    found = {}
    for sample in data:
        parts = {name: value for name, value in sample.items() if not name.startswith("__")}
        found[sample["__key__"]] = {
            name: hashlib.sha256(value if isinstance(value, bytes) else repr(value).encode()).hexdigest()
            for name, value in parts.items()
        }
    print(json.dumps(found))
