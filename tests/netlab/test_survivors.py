"""Everything fails but one proxy: the installed g3m finds it, and says what failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.netlab.dataset import Shard, write_recipe
from tests.netlab.desk import Desk
from tests.netlab.lab import ADDRESSES, MIRROR, NOWHERE, ORIGIN, Lab
from tests.netlab.ways import CORE_NODES, WAYS, core_way

CUT = 1_000_000
"""A quarter of the small file: one connection, or all of them, do not bring it to its end."""

BLOCKS = {
    "drop": "drop",
    "unreach": "unreach",
    "rst": "rst",
    "sni-rst": "sni-rst",
    "sni-drop": "sni-drop",
    "cut": f"end:{CUT}",
    "cutrst": f"endrst:{CUT}",
}
POISONS = {"mirror": ADDRESSES[MIRROR], "dead": NOWHERE, "none": "", "self": "127.0.0.1"}
LOUD = {"unreach", "rst", "sni-rst", "mirror", "none", "self"}
"""What fails at once; the others are silent, and are known only after a while."""

DIRECT = (ORIGIN, "direct")


def block(desk: Desk, kind: str) -> None:
    """Close the direct way to the origin, by the wall or by its name."""
    if kind in POISONS:
        desk.client.names(origin=POISONS[kind])
    else:
        desk.client.wall(origin=BLOCKS[kind])


@pytest.mark.parametrize("name", WAYS)
def test_each_proxy_alone_is_enough(desk: Desk, large: Shard, name: str) -> None:
    """With the origin blocked and no mirror, 24 MB come over the one proxy that --proxy names."""
    way = WAYS[name]
    way.open(desk.client)
    block(desk, "rst")
    ran = desk.get(write_recipe(desk.folder, large, [large.at(ORIGIN)]), "--proxy", way.url)
    assert (ran.code, desk.has(large)) == (0, True), ran.story
    assert ran.carriers == {(ORIGIN, way.label)}
    assert set(ran.failures) == {DIRECT}


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("name", ["squid-login", "microsocks"])
def test_a_proxy_of_the_variables_is_enough(desk: Desk, small: Shard, variable: str, name: str) -> None:
    """The same with the variable that other programs read, while the origin's name is poisoned as well."""
    way = WAYS[name]
    block(desk, "mirror")
    ran = desk.get(write_recipe(desk.folder, small, [small.at(ORIGIN)]), **{variable: way.url})
    assert (ran.code, desk.has(small)) == (0, True), ran.story
    assert ran.carriers == {(ORIGIN, way.label)}


@pytest.mark.parametrize(("core", "node"), CORE_NODES)
def test_each_node_of_a_core_is_enough(desk: Desk, small: Shard, core: str, node: int) -> None:
    """The same over shadowsocks, vmess, trojan and a proxy with a login, behind a real core."""
    way = core_way(core, node)
    way.open(desk.client)
    block(desk, "none")
    ran = desk.get(write_recipe(desk.folder, small, [small.at(ORIGIN)]), "--proxy", way.url)
    assert (ran.code, desk.has(small)) == (0, True), ran.story
    assert ran.carriers == {(ORIGIN, way.label)}


KINDS = (*BLOCKS, *POISONS)
ENDS = ("end", "endrst")
MATRIX = [
    (kind, name, ENDS[(row + column) % len(ENDS)])
    for row, kind in enumerate(KINDS)
    for column, name in enumerate(WAYS)
]
"""Every block with every proxy, and every one of both with a mirror that falls silent and one that is reset."""


@pytest.mark.parametrize(("kind", "name", "end"), MATRIX)
def test_one_proxy_survives_the_origin_and_the_mirror(
    desk: Desk, small: Shard, kind: str, name: str, end: str
) -> None:
    """The origin is blocked and the mirror ends in the middle: one proxy brings the rest."""
    way = WAYS[name]
    way.open(desk.client)
    block(desk, kind)
    desk.client.wall(mirror=f"{end}:{CUT}")
    recipe = write_recipe(desk.folder, small, [small.at(ORIGIN), small.at(MIRROR)])
    ran = desk.get(recipe, "--proxy", way.url)
    assert (ran.code, desk.has(small)) == (0, True), ran.story
    assert way.label in {carrier[1] for carrier in ran.carriers}
    if kind in LOUD:
        assert DIRECT in ran.failures, ran.story


@pytest.fixture
def slow_proxy(lab: Lab) -> Iterator[None]:
    """The proxy needs four seconds for the large file: time enough for every silence to be noticed."""
    lab.wall.throttle(lab.hosts["proxy"], "48mbit")
    yield
    lab.wall.throttle(lab.hosts["proxy"], "")


@pytest.mark.usefixtures("slow_proxy")
@pytest.mark.parametrize("kind", sorted({*KINDS} - LOUD))
def test_silent_routes_are_named_as_well(desk: Desk, large: Shard, kind: str) -> None:
    """A run that lasts is told of every dead route, also of those that say nothing, and why."""
    way = WAYS["squid"]
    block(desk, kind)
    desk.client.wall(mirror=f"end:{CUT}")
    recipe = write_recipe(desk.folder, large, [large.at(ORIGIN), large.at(MIRROR)])
    ran = desk.get(recipe, "--proxy", way.url)
    assert (ran.code, desk.has(large)) == (0, True), ran.story
    assert {DIRECT, (MIRROR, "direct")} <= set(ran.failures), ran.story
    assert (ORIGIN, way.label) in ran.carriers, ran.story
    assert all(ran.failures.values())
