"""Is the lab honest? What curl, which others wrote, sees in it; and is nothing of it left behind?"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.netlab import usable
from tests.netlab.dataset import Shard
from tests.netlab.hub import hub_host
from tests.netlab.lab import ADDRESSES, CDN, HUB_MIRROR, MIRROR, NOWHERE, ORIGIN, PROXY, Client, Lab
from tests.netlab.namespaces import HOSTS, PATH, REGISTRY, SHARED_MEMORY, LabError
from tests.netlab.wall import MODES
from tests.netlab.ways import CORE_NODES, WAYS, Way, core_way

REPOSITORY = Path(__file__).parents[2]
CUT = 1_000_000


@dataclass(frozen=True)
class Fetched:
    """What curl ended with: its exit code, the status, and the bytes."""

    code: int
    status: int
    body: bytes

    def is_whole(self, shard: Shard) -> bool:
        return hashlib.sha256(self.body).hexdigest() == shard.sha256


def curl(client: Client, url: str, *words: str) -> Fetched:
    """Fetch with curl, waiting for little."""
    target = client.lab.spaces.folder / f"{client.namespace.name}.body"
    target.write_bytes(b"")
    options = ("-sS", "--max-time", "1.5", "--connect-timeout", "0.6", "--write-out", "%{http_code}")
    variables = {"PATH": PATH, "CURL_CA_BUNDLE": str(client.lab.authority.bundle)}
    done = client.run(["curl", *options, "--output", target, *words, url], variables)
    return Fetched(done.returncode, int(done.stdout), target.read_bytes())


def test_an_open_wall_lets_everything_through(client: Client, small: Shard) -> None:
    """Origin and mirror serve the same file, by http and https, to a client with no proxy."""
    for host in (ORIGIN, MIRROR):
        for scheme in ("http", "https"):
            assert curl(client, small.at(host, scheme)).is_whole(small)


BLOCKS = {
    "drop": (28, 28),
    "unreach": (7, 7),
    "rst": (7, 7),
    "sni-rst": (35, 0),
    "sni-drop": (28, 0),
    f"cut:{CUT}": (28, 28),
    f"cutrst:{CUT}": (56, 56),
    f"end:{CUT}": (28, 28),
    f"endrst:{CUT}": (56, 7),
}
"""For each mode curl's exit code over https, and then over http."""


@pytest.mark.parametrize("mode", BLOCKS)
def test_a_block_looks_as_it_is_called(client: Client, small: Shard, mode: str) -> None:
    """Each mode gives the failure that it is named for, lets nothing else fail, and can be lifted."""
    client.wall(origin=mode)
    got = [curl(client, small.at(ORIGIN, scheme)) for scheme in ("https", "http")]
    assert tuple(fetched.code for fetched in got) == BLOCKS[mode]
    if str(CUT) in mode:
        assert CUT / 2 < len(got[0].body) < CUT * 1.5
        assert (len(got[1].body) > CUT / 2) == mode.startswith("cut")
    assert curl(client, small.at(MIRROR)).is_whole(small)
    client.wall(origin="open")
    assert curl(client, small.at(ORIGIN)).is_whole(small)


def test_every_mode_of_the_wall_is_looked_at() -> None:
    """No mode was forgotten above, and a mistyped one is an error."""
    assert {mode.partition(":")[0] for mode in BLOCKS} | {"open"} == set(MODES)


def test_a_mode_that_does_not_exist_is_an_error(client: Client) -> None:
    """A wall that stays open because of a mistyped word would prove nothing."""
    for mode in ("dorp", "cut", "cut:x"):
        with pytest.raises(LabError, match="knows no mode"):
            client.wall(origin=mode)


POISONS = {
    "mirror": (ADDRESSES[MIRROR], 60, 0),
    "dead": (NOWHERE, 28, 28),
    "none": ("", 6, 6),
    "self": ("127.0.0.1", 7, 7),
}


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_name_leads_astray(client: Client, small: Shard, poison: str) -> None:
    """A wrong address shows in curl's exit code; a name that is gone is gone at the resolver too."""
    address, over_https, over_http = POISONS[poison]
    client.names(origin=address)
    assert curl(client, small.at(ORIGIN)).code == over_https
    assert curl(client, small.at(ORIGIN, "http")).code == over_http


def test_clients_do_not_share_a_wall(lab: Lab, client: Client, small: Shard) -> None:
    """What the wall does to one client does not touch another."""
    client.wall(origin="rst", mirror="rst")
    client.names(origin="127.0.0.1")
    with lab.client() as other:
        assert curl(other, small.at(ORIGIN)).is_whole(small)


def carries(client: Client, way: Way, shard: Shard) -> bool:
    """Whether a way brings the file while the direct one is dead, and the origin saw the proxy only."""
    client.wall(origin="drop")
    client.names(origin=NOWHERE)
    way.open(client)
    proxy = way.url.replace("socks5://", "socks5h://")
    before = len(client.lab.requests("origin"))
    whole = curl(client, shard.at(ORIGIN), "--proxy", proxy).is_whole(shard)
    return whole and all(line.startswith("11.77.5.1 ") for line in client.lab.requests("origin")[before:])


@pytest.mark.parametrize("name", WAYS)
def test_every_proxy_carries_the_file(client: Client, small: Shard, name: str) -> None:
    """With the origin blocked and its name poisoned, the file comes through the proxy."""
    assert carries(client, WAYS[name], small)


@pytest.mark.parametrize(("core", "node"), CORE_NODES)
def test_every_node_of_a_core_carries_the_file(client: Client, small: Shard, core: str, node: int) -> None:
    """The cores lead through shadowsocks, vmess, trojan and an HTTP proxy with a login."""
    assert carries(client, core_way(core, node), small)


@pytest.mark.parametrize(("proxy", "code"), [(f"http://{PROXY}:3129", 56), (f"socks5h://{PROXY}:1081", 97)])
def test_a_proxy_with_a_login_lets_nobody_else_through(
    client: Client, small: Shard, proxy: str, code: int
) -> None:
    """Without a login curl is refused."""
    assert curl(client, small.at(ORIGIN), "--proxy", proxy).code == code


def test_a_throttled_leg_is_slow(lab: Lab, client: Client, small: Shard) -> None:
    """4 MB at 8 Mbit/s do not arrive within a second and a half; without the limit they do."""
    lab.wall.throttle(lab.hosts["mirror"], "8mbit")
    try:
        slow = curl(client, small.at(MIRROR))
    finally:
        lab.wall.throttle(lab.hosts["mirror"], "")
    assert slow.code == 28
    assert 500_000 < len(slow.body) < 2_500_000
    assert curl(client, small.at(MIRROR)).is_whole(small)


def test_the_hub_of_the_lab_lists_redirects_and_writes_down(
    lab: Lab, client: Client, small: Shard, tmp_path: Path
) -> None:
    """Its listing has sizes and sha256, its files lead to the CDN, and every header is on record."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "a.tar").write_bytes(small.path.read_bytes())
    to = f"https://{CDN}"
    with (
        hub_host(lab, "mirror", HUB_MIRROR, "serve", served, to) as hub,
        hub_host(lab, "origin", CDN, "serve", served) as cdn,
    ):
        listed = curl(client, f"https://{HUB_MIRROR}/api/datasets/o/n/tree/{'a' * 40}?recursive=true")
        (row,) = json.loads(listed.body)
        assert (row["path"], row["lfs"]["oid"], row["size"]) == ("a.tar", small.sha256, small.size_bytes)
        url = f"https://{HUB_MIRROR}/datasets/o/n/resolve/{'a' * 40}/a.tar"
        assert curl(client, url, "--location", "--header", "Authorization: Bearer x").is_whole(small)
        assert hub.authorizations == {"", "Bearer x"}
        assert cdn.authorizations == {""}
        part = curl(client, f"{to}/blob/a.tar", "--range", "1000-1999")
        assert (part.status, part.body) == (206, small.path.read_bytes()[1000:2000])


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.netlab.lab import open_lab
with open_lab(Path(sys.argv[1])) as lab:
    with lab.client():
        print(lab.spaces.token, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""

SWEPT = """
from tests.netlab.namespaces import namespaces
with namespaces():
    pass
"""


def traces(token: str) -> list[str]:
    """What of a run is still on this machine: namespaces, files, processes."""
    folders = (Path("/run/netns"), HOSTS, SHARED_MEMORY)
    named = [*REGISTRY.glob(token), *(path for folder in folders for path in folder.glob(f"{token}-*"))]
    commands = [
        path.read_bytes().replace(b"\0", b" ")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists()
    ]
    return [str(path) for path in named] + [
        text.decode() for text in commands if f"{REGISTRY}/{token}/".encode() in text
    ]


def test_what_a_killed_run_left_is_taken_away(lab: Lab, tmp_path: Path) -> None:
    """A run that is killed with all servers up leaves them; the next run takes them away, and nothing else."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    token = killed.stdout.strip()
    left = traces(token)
    assert any("nginx" in trace for trace in left)
    assert any(str(SHARED_MEMORY) in trace for trace in left)
    subprocess.run([sys.executable, "-c", SWEPT], cwd=REPOSITORY, check=True, timeout=60)
    assert traces(token) == []
    assert any("nginx" in trace for trace in traces(lab.spaces.token))


def test_a_machine_without_the_programs_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that `make test` prints names the packages."""
    monkeypatch.setattr(usable, "PATH", "/nowhere")
    assert usable.why_not().startswith("needs curl dante-server dnsmasq-base")
