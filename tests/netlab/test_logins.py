"""Proxies that want a login: what is said when it is wrong or missing, and that nobody reads it anywhere."""

from __future__ import annotations

import pytest
from tests.netlab.dataset import Shard, write_recipe
from tests.netlab.desk import Desk
from tests.netlab.lab import ORIGIN, PROXY
from tests.netlab.servers import PASSWORD, USER
from tests.netlab.ways import WAYS

WRONG = f"{USER}:{PASSWORD}-wrong@"
"""It holds the right login's words, so that any trace of it is found."""

HTTP, SOCKS = f"http://{{login}}{PROXY}:3129", f"socks5h://{{login}}{PROXY}:1081"


def failed(desk: Desk, shard: Shard, login: str, scheme: str = "https") -> dict[str, str]:
    """What g3m says of an HTTP and of a SOCKS proxy when the direct way is closed and they are all there is."""
    desk.client.wall(origin="rst")
    recipe = write_recipe(desk.folder, shard, [shard.at(ORIGIN, scheme)])
    flags = [word for proxy in (HTTP, SOCKS) for word in ("--proxy", proxy.format(login=login))]
    ran = desk.g3m("get", recipe, "--yes", "--root", desk.root, *flags)
    assert ran.code in (4, 5), ran.story
    assert not desk.has(shard)
    lines = ran.err.partition("\nerror ")[2].splitlines()
    return {port: " ".join(line for line in lines if f"{PROXY}:{port}" in line) for port in ("3129", "1081")}


@pytest.mark.parametrize(("login", "scheme"), [(WRONG, "https"), (WRONG, "http"), ("", "https")])
def test_a_wrong_or_missing_login_is_named(desk: Desk, small: Shard, login: str, scheme: str) -> None:
    """The error names each proxy and what it answered: 407, by a tunnel and without one, or no login accepted."""
    said = failed(desk, small, login, scheme)
    assert "407" in said["3129"]
    assert any(word in said["1081"] for word in ("login", "authentication", "rejected")), said


def test_a_wrong_login_beside_a_right_one_costs_a_line(desk: Desk, small: Shard) -> None:
    """The proxy with the right login brings the file, and the other is named as failed."""
    desk.client.wall(origin="rst")
    recipe = write_recipe(desk.folder, small, [small.at(ORIGIN)])
    right = WAYS["squid-login"]
    ran = desk.get(recipe, "--proxy", SOCKS.format(login=WRONG), "--proxy", right.url)
    assert (ran.code, desk.has(small)) == (0, True), ran.story
    assert ran.carriers == {(ORIGIN, right.label)}
    assert (ORIGIN, f"proxy {PROXY}:1081") in ran.failures
