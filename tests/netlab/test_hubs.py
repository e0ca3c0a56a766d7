"""The hub and its mirrors: who may see the token, and what a mirror that does not serve looks like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.netlab.dataset import Shard
from tests.netlab.desk import HUB_TOKEN, Desk
from tests.netlab.hub import HubHost, hub_host
from tests.netlab.lab import CDN, HUB, HUB_MIRROR, Lab
from tests.netlab.ways import WAYS

BEARER = f"Bearer {HUB_TOKEN}"
TOKEN = {"HF_TOKEN": HUB_TOKEN}
MIRRORED = {**TOKEN, "HF_ENDPOINT": f"https://{HUB_MIRROR}"}
"""What half of the manuals tell people to set, on a machine where they are signed in."""


@pytest.fixture
def hub(lab: Lab, served: Path) -> Iterator[HubHost]:
    """huggingface.co, whose files lie on a CDN."""
    with hub_host(lab, "origin", HUB, "serve", served, f"https://{CDN}") as host:
        yield host


@pytest.fixture
def cdn(lab: Lab, served: Path) -> Iterator[HubHost]:
    """The CDN."""
    with hub_host(lab, "origin", CDN, "serve", served) as host:
        yield host


def test_the_hub_sees_the_token_and_the_cdn_does_not(
    desk: Desk, small: Shard, hub: HubHost, cdn: HubHost, listed: Path
) -> None:
    """The token goes to huggingface.co alone; the redirect to the CDN carries none."""
    ran = desk.get(listed, **TOKEN)
    assert (ran.code, desk.has(small)) == (0, True), ran.story
    assert hub.authorizations == {BEARER}
    assert cdn.authorizations == {""}


@pytest.mark.parametrize("name", ["squid", "microsocks"])
def test_over_a_proxy_the_token_goes_to_the_hub_alone(
    desk: Desk, small: Shard, hub: HubHost, cdn: HubHost, listed: Path, name: str
) -> None:
    """The same with the hub blocked and reached over a proxy."""
    desk.client.wall(hub="drop", cdn="drop")
    ran = desk.get(listed, "--proxy", WAYS[name].url, **TOKEN)
    assert (ran.code, desk.has(small)) == (0, True), ran.story
    assert hub.authorizations == {BEARER}
    assert cdn.authorizations == {""}


def test_a_mirror_of_the_hub_sees_no_token(
    lab: Lab, desk: Desk, small: Shard, served: Path, cdn: HubHost, listed: Path
) -> None:
    """With HF_ENDPOINT at a mirror the listing and the files come without the token."""
    with hub_host(lab, "mirror", HUB_MIRROR, "serve", served, f"https://{CDN}") as mirror:
        ran = desk.get(listed, **MIRRORED)
        assert (ran.code, desk.has(small)) == (0, True), ran.story
        assert any("/resolve/" in path for path in mirror.paths)
        assert mirror.authorizations == {""}
    assert cdn.authorizations == {""}


def test_a_mirror_that_sends_on_to_the_blocked_hub(
    lab: Lab, desk: Desk, small: Shard, served: Path, hub: HubHost, cdn: HubHost, listed: Path
) -> None:
    """A 308 to the blocked hub fails by the direct way and works over the proxy; only the hub sees the token."""
    desk.client.wall(hub="drop", cdn="drop")
    with hub_host(lab, "mirror", HUB_MIRROR, "moved", served, f"https://{HUB}") as mirror:
        ran = desk.get(listed, "--proxy", WAYS["tinyproxy"].url, **MIRRORED)
        assert (ran.code, desk.has(small)) == (0, True), ran.story
        assert mirror.authorizations == {""}
    assert hub.authorizations == {BEARER}
    assert cdn.authorizations == {""}


def test_a_mirror_that_sends_on_to_the_blocked_hub_alone(
    lab: Lab, desk: Desk, small: Shard, served: Path, hub: HubHost, listed: Path
) -> None:
    """Without a proxy the run fails, and the message names the hub that the mirror led to."""
    desk.client.wall(hub="rst", cdn="rst")
    with hub_host(lab, "mirror", HUB_MIRROR, "moved", served, f"https://{HUB}"):
        ran = desk.get(listed, **MIRRORED)
    assert ran.code == 5, ran.story
    assert HUB in ran.err
    assert hub.requests == []


@pytest.mark.parametrize("behaviour", ["login", "wrong"])
def test_a_mirror_that_serves_something_else_is_refused(
    lab: Lab, desk: Desk, small: Shard, served: Path, listed: Path, behaviour: str
) -> None:
    """A page that asks to sign in, or one wrong byte: nothing of it becomes a shard."""
    with hub_host(lab, "mirror", HUB_MIRROR, behaviour, served, f"https://{HUB_MIRROR}"):
        ran = desk.get(listed, **MIRRORED)
    assert ran.code in (3, 4, 5, 7), ran.story
    assert not list(desk.root.rglob("*.tar"))
