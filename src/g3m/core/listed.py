"""A line of a list of samples, as `g3m search --keys` writes it and `exclude` and `g3m drop` read it."""

from __future__ import annotations

import json


def listed(dataset: str, key: str) -> str:
    """DATASET/KEY where a line can hold that as it is, else JSON; never with a control character.

    >>> listed("coco_valid", "000000000139"), listed("mine", "a\\nb")
    ('coco_valid/000000000139', '{"dataset": "mine", "key": "a\\\\nb"}')
    """
    line = f"{dataset}/{key}"
    if line.isprintable() and line == line.strip() and not line.startswith("{"):
        return line
    return json.dumps({"dataset": dataset, "key": key})
