"""Bytes of strangers: poisoned names over plain http, login pages, mirrors with wrong bytes. None is accepted."""

from __future__ import annotations

import pytest
from tests.netlab.dataset import Shard, make_shard, write_recipe
from tests.netlab.desk import Desk
from tests.netlab.lab import ADDRESSES, MIRROR, ORIGIN, Lab
from tests.netlab.ways import WAYS


@pytest.fixture(scope="module")
def foreign(lab: Lab, small: Shard) -> Shard:
    """What the mirror serves under the name of the small shard on a path of its own: as long, and different."""
    folder = lab.files / "foreign"
    folder.mkdir()
    made = make_shard(folder / small.path.name, samples=small.samples, sample_bytes=500_000)
    content = bytearray(made.path.read_bytes())
    content[1_000_000:3_000_000] = bytes(2_000_000)
    made.path.write_bytes(content)
    return made


def test_a_poisoned_name_over_plain_http_brings_nothing(desk: Desk, small: Shard, foreign: Shard) -> None:
    """The wrong host answers 200 with a file of the right size: the digest refuses it, and the run fails."""
    desk.client.names(origin=ADDRESSES[MIRROR])
    recipe = write_recipe(desk.folder, small, [f"http://{ORIGIN}/foreign/{small.path.name}"])
    ran = desk.get(recipe)
    assert ran.code in (3, 5, 7), ran.story
    assert "sha256" in ran.words
    assert not list((desk.root).rglob("*.tar"))


def test_a_poisoned_name_over_plain_http_beside_a_proxy(desk: Desk, small: Shard, foreign: Shard) -> None:
    """The proxy resolves the name rightly: its bytes win over the stranger's, which are thrown away."""
    way = WAYS["squid"]
    desk.client.names(origin=ADDRESSES[MIRROR])
    places = [f"http://{ORIGIN}/foreign/{small.path.name}", small.at(ORIGIN)]
    ran = desk.get(write_recipe(desk.folder, small, places), "--proxy", way.url)
    assert (ran.code, desk.has(small)) == (0, True), ran.story


def test_a_poisoned_name_over_https_brings_nothing(desk: Desk, small: Shard) -> None:
    """The wrong host has no certificate for the name: not one byte is taken from it."""
    desk.client.names(origin=ADDRESSES[MIRROR])
    before = len(desk.client.lab.requests("mirror"))
    ran = desk.get(write_recipe(desk.folder, small, [small.at(ORIGIN)]))
    assert ran.code == 5, ran.story
    assert ran.carriers == set()
    assert len(desk.client.lab.requests("mirror")) == before


def test_a_mirror_with_wrong_bytes_is_found_out(desk: Desk, small: Shard, foreign: Shard) -> None:
    """Origin and mirror are both at work and the mirror lies in the middle: what stands is the origin's."""
    places = [f"https://{MIRROR}/foreign/{small.path.name}", small.at(ORIGIN)]
    ran = desk.get(write_recipe(desk.folder, small, places))
    assert (ran.code, desk.has(small)) == (0, True), ran.story
