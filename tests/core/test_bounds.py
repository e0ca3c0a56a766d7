"""The bounds that core sets for what strangers send: a number that moves changes what is refused, on purpose only."""

from __future__ import annotations

from importlib import import_module

import pytest

BOUNDS = [
    ("g3m.core.alike", "ROWS_LIMIT", 7),
    ("g3m.core.alike", "BOTH_LIMIT", 16),
    ("g3m.core.directory", "ENTRY_LIMIT_BYTES", 196_651),
    ("g3m.core.directory", "TAIL_LIMIT_BYTES", 65_557),
    ("g3m.core.health", "LIMIT", 500),
    ("g3m.core.index", "FIELDS_LIMIT", 16),
    ("g3m.core.indexing", "KEYS_LIMIT_BYTES", 4_294_967_296),
    ("g3m.core.members", "NAME_LIMIT_BYTES", 4_096),
    ("g3m.core.members", "MEMBER_LIMIT_BYTES", 2_147_483_648),
    ("g3m.core.members", "MEMBER_COUNT_LIMIT", 50_000_000),
    ("g3m.core.peers", "LISTING_LIMIT_BYTES", 33_554_432),
    ("g3m.core.peers", "ASSETS_LIMIT", 100_000),
    ("g3m.core.peers", "DATASETS_LIMIT", 1_000),
    ("g3m.core.peers", "SHARDS_LIMIT", 100_000),
    ("g3m.core.peers", "FILES_LIMIT", 100),
    ("g3m.core.peers", "RANGES_LIMIT", 4_096),
    ("g3m.core.peers", "SIZE_LIMIT_BYTES", 9_007_199_254_740_992),
    ("g3m.core.query", "MOST_CHARACTERS", 1_000),
    ("g3m.core.query", "MOST_TERMS", 50),
    ("g3m.core.resume", "RETRY_AFTER_LIMIT_S", 300.0),
    ("g3m.core.rows", "ROW_LIMIT_BYTES", 16_777_216),
    ("g3m.core.samples", "KEY_LIMIT", 70),
    ("g3m.core.segments", "PROFILE_LIMIT_BYTES", 2_097_152),
    ("g3m.core.shard", "NAME_LIMIT_BYTES", 100),
    ("g3m.core.shard", "SIZE_LIMIT_BYTES", 8_589_934_592),
    ("g3m.core.structure", "STEPS_LIMIT", 100_000),
    ("g3m.core.structure", "SCANS_LIMIT", 500),
    ("g3m.core.treatment", "PIXEL_LIMIT", 64_000_000),
    ("g3m.core.treatment", "CAPTION_LIMIT_BYTES", 65_536),
    ("g3m.core.weburl", "MOST_CHARACTERS", 8_192),
]


@pytest.mark.parametrize(("module", "name", "bound"), BOUNDS)
def test_a_bound_moves_on_purpose_only(module: str, name: str, bound: float) -> None:
    """Each bound is the plain number that is written down here too."""
    assert getattr(import_module(module), name) == bound
