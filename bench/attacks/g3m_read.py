"""Reads a folder of shards with g3m's loader and decodes each picture; prints the digests of all samples."""

from __future__ import annotations

import hashlib
import json
import sys

import g3m

if __name__ == "__main__":
    data = g3m.dataset(sys.argv[1])
    found = {}
    for number in range(len(data)):
        parts = zip(("jpg", "txt"), data.raw(number), strict=True)
        key = data.key(number).rpartition("/")[2]
        found[key] = {name: hashlib.sha256(part).hexdigest() for name, part in parts}
        data[number].open().load()
    print(json.dumps(found))
