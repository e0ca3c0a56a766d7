"""steps/diagnose.py: which hosts the datasets need, which ways lead there, and what each does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters import probe as probe_module
from g3m.adapters.listeners import Listener
from g3m.adapters.probe import Limits
from g3m.adapters.session import Session
from g3m.core.errors import UnknownDataset
from g3m.core.verdicts import Way, choose, judge
from g3m.lab.exchange import Exchange
from g3m.lab.messages import Reply
from g3m.lab.mischief import Page, Redirect308, Reset, Silence, Status, Trickle
from g3m.lab.world import CC3M_COMMIT, CC3M_REPOSITORY, World
from g3m.runners.run import make_session
from g3m.steps.diagnose import (
    DEFAULT_NAMES,
    LISTENERS,
    Finding,
    Survey,
    examine,
    shown,
    survey,
    usable_variables,
)

CANARY = "CANARY3b1c"
LIMITS = Limits(dns_s=0.5, connect_s=1.0, total_s=3.0, stall_s=0.4, speak_s=0.4, first_s=0.2, sample_s=0.4)
HUB = "huggingface.co"
MIRROR = "https://hub-mirror.example.org"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=10) as world:
        yield world


@pytest.fixture
def world(drawn: World) -> Iterator[World]:
    drawn.origin.be_honest()
    drawn.origin.forget_requests()
    yield drawn
    drawn.origin.be_honest()


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The system's resolver, replaced: only `localhost` and what a test adds is known."""
    known = {"localhost": "127.0.0.1"}

    def answer(host: str, timeout_s: float) -> tuple[tuple[str, ...], str]:
        return ((known[host],), "") if host in known else ((), "unknown")

    monkeypatch.setattr(probe_module, "resolve_name", answer)
    return known


def plain(tmp_path: Path, variables: dict[str, str] | None = None, **options: Any) -> Session:
    """A session of the real recipes."""
    options = {"root": str(tmp_path / "data"), **options}
    return make_session(options, {"HOME": str(tmp_path), **(variables or {})})


def drawn_session(
    world: World, tmp_path: Path, variables: dict[str, str] | None = None, **more: Any
) -> Session:
    """A session whose hosts are the world's."""
    return plain(tmp_path, {**world.variables, **(variables or {})}, **{**world.options, **more})


def look(found: Survey, session: Session) -> dict[tuple[str, str], Finding]:
    """The findings by place and way."""
    findings = list(examine(found.lines, session, LIMITS))
    assert len(findings) == len(found.lines)
    return {(finding.line.place.name, finding.line.way.proxy): finding for finding in findings}


def command(found: Survey, findings: dict[tuple[str, str], Finding]) -> str:
    return choose(found.needs, [finding.outcome for finding in findings.values()]).command


# What is to be asked.


def test_the_hosts_of_the_real_recipes(tmp_path: Path) -> None:
    """One file of each host, the largest that has a known size; the hub's name comes from its listing."""
    found = survey((), plain(tmp_path))
    places = {place.name: place for place in found.places}
    assert set(places) == {
        HUB,
        "www.kaggle.com",
        "s3.amazonaws.com",
        "http://images.cocodataset.org",
        "open-images-dataset.s3.amazonaws.com",
        "storage.googleapis.com",
    }
    assert places[HUB].listing is not None
    assert places["http://images.cocodataset.org"].file == "train2017.zip"
    assert places["s3.amazonaws.com"].wanted_bytes == places["http://images.cocodataset.org"].wanted_bytes
    assert places["storage.googleapis.com"].wanted_bytes == 1_139_215_790
    assert all(line.way == Way() for line in found.lines)
    assert not (tmp_path / "data").exists()


def test_the_largest_file_of_a_host_is_asked_for(tmp_path: Path) -> None:
    """In whatever order the datasets are named."""
    for names in (("coco_valid", "coco"), ("coco", "coco_valid")):
        assert {place.file for place in survey(names, plain(tmp_path)).places} == {"train2017.zip"}


def test_what_the_datasets_need(tmp_path: Path) -> None:
    """Files at the same places count together; a dataset of two hosts needs both."""
    needs = survey(("coco_valid", "openimages_v7_valid", "cc3m"), plain(tmp_path)).needs
    assert [(need.dataset, need.places, need.size_bytes) for need in needs] == [
        ("coco_valid", ("s3.amazonaws.com", "http://images.cocodataset.org"), 815_585_330 + 252_907_541),
        (
            "openimages_v7_valid",
            ("open-images-dataset.s3.amazonaws.com", "s3.amazonaws.com"),
            12_844_530_798,
        ),
        ("openimages_v7_valid", ("storage.googleapis.com",), 1_139_215_790),
        ("cc3m", (HUB,), 275_000_000_000),
    ]


def test_no_dataset_means_the_groups(tmp_path: Path) -> None:
    """By default what the paper trains and evaluates on."""
    session = plain(tmp_path)
    assert survey((), session) == survey(DEFAULT_NAMES, session)
    with pytest.raises(UnknownDataset):
        survey(("nothing",), session)


def test_a_mirror_of_the_hub_and_the_hub_itself(tmp_path: Path) -> None:
    """Both are asked; the hub itself is marked as not in use. A hub on this machine stands alone."""
    found = survey(("cc3m",), plain(tmp_path, hub_endpoint=MIRROR))
    assert [(place.name, place.endpoint) for place in found.places] == [
        ("hub-mirror.example.org", ""),
        (HUB, f"https://{HUB}"),
    ]
    assert found.needs[0].places == ("hub-mirror.example.org", HUB)
    alone = survey(("cc3m",), plain(tmp_path, hub_endpoint="http://127.0.0.1:9"))
    assert [place.name for place in alone.places] == ["http://127.0.0.1:9"]


def test_mirrors_of_the_user(tmp_path: Path) -> None:
    """Rewritten places are asked, and the origin only if it is among them."""
    prefix, mirror = "https://s3.amazonaws.com/", "https://nas.lab/"
    found = survey(("coco_valid",), plain(tmp_path, mirrors=[{"prefix": prefix, "places": [mirror, prefix]}]))
    assert [place.name for place in found.places] == [
        "nas.lab",
        "s3.amazonaws.com",
        "http://images.cocodataset.org",
    ]
    found = survey(("coco_valid",), plain(tmp_path, mirrors=[{"prefix": prefix, "places": [mirror]}]))
    assert [place.name for place in found.places] == ["nas.lab", "http://images.cocodataset.org"]


def test_the_ways(tmp_path: Path) -> None:
    """Every proxy that is named and fits the scheme, then the direct way; no login in what is shown."""
    variables = {"https_proxy": f"http://me:{CANARY}@gate:3128", "no_proxy": "storage.googleapis.com"}
    session = plain(tmp_path, variables, proxy=["socks5://127.0.0.1:1080"])
    found = survey((), session)
    ways: dict[str, list[tuple[str, str]]] = {line.place.name: [] for line in found.lines}
    for line in found.lines:
        ways[line.place.name].append((line.way.proxy, line.way.origin))
    option = ("socks5h://127.0.0.1:1080", "--proxy")
    assert ways[HUB] == [option, ("http://***@gate:3128", "https_proxy"), ("", "")]
    assert ways["http://images.cocodataset.org"] == [option, ("", "")]
    assert ways["storage.googleapis.com"] == [("", "")]
    assert CANARY not in repr(found)
    assert any(CANARY in line.proxy for line in found.lines)


@pytest.mark.parametrize(
    ("origin", "expected"), [("command line", "--proxy"), ("/home/me/config.toml", None)]
)
def test_who_named_the_proxy(tmp_path: Path, origin: str, expected: str | None) -> None:
    """A proxy of the command line must be said again in the command; one of the config file need not."""
    session = plain(tmp_path, proxy=["http://127.0.0.1:7890"])
    settings = replace(session.settings, origins={"proxy": origin})
    found = survey(("cc3m",), replace(session, settings=settings))
    assert found.lines[0].way.origin == (expected or origin)
    assert found.lines[0].way.must_be_said == (expected is not None)


@pytest.mark.parametrize(
    ("listener", "tried"),
    [
        (Listener(port=7890, speaks=("http", "socks5"), owner="yours"), ["http://127.0.0.1:7890"]),
        (Listener(port=1080, speaks=("socks5",), owner="yours"), ["socks5h://127.0.0.1:1080"]),
        (Listener(port=7890, speaks=("http",), owner="other", uid=1007), []),
        (Listener(port=7890, speaks=("http",), owner="system"), []),
        (Listener(port=7890, speaks=("http",), owner=""), []),
        (Listener(port=7890, speaks=("http",), owner="yours", wants_login=True), []),
        (Listener(port=3128, speaks=("http",), owner="yours"), []),
    ],
)
def test_a_proxy_that_nothing_names(tmp_path: Path, listener: Listener, tried: list[str]) -> None:
    """Only the user's own is tried, only if it needs no login, and not if a variable names it already."""
    session = plain(tmp_path, {"https_proxy": "http://127.0.0.1:3128"})
    ways = survey(("cc3m",), session, [listener]).ways
    assert [way.proxy for way in ways if way.origin == "listener"] == tried
    assert all(way.must_be_said for way in ways if way.origin == "listener")


def test_few_listeners_are_tried(tmp_path: Path) -> None:
    """One core listens at many ports."""
    many = [Listener(port=port, speaks=("http",), owner="yours") for port in range(7000, 7009)]
    assert len(survey(("cc3m",), plain(tmp_path), many).ways) == 1 + LISTENERS


def test_no_proxy_means_none(tmp_path: Path) -> None:
    """With --no-proxy neither a variable's proxy nor one that was found is tried."""
    session = plain(tmp_path, {"https_proxy": "http://127.0.0.1:3128"}, no_proxy=True)
    found = survey(("cc3m",), session, [Listener(port=7890, speaks=("http",), owner="yours")])
    assert found.ways == (Way(),)


def test_a_listener_is_not_tried_for_excepted_hosts(tmp_path: Path) -> None:
    """NO_PROXY holds for what was found as for what was named."""
    session = plain(tmp_path, {"no_proxy": "amazonaws.com,cocodataset.org"})
    found = survey(("coco_valid",), session, [Listener(port=7890, speaks=("http",), owner="yours")])
    assert {line.way for line in found.lines} == {Way()}


def test_shown() -> None:
    """A login becomes ***."""
    assert shown("") == ""
    assert shown("http://127.0.0.1:7890") == "http://127.0.0.1:7890"
    assert shown(f"socks5h://me:{CANARY}@[::1]:1080") == "socks5h://***@[::1]:1080"


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_variables_that_cannot_be_used(name: str) -> None:
    """They are named and left out, so that the rest can be looked at; their login is not shown."""
    written = {name: f"ftp://me:{CANARY}@h:1", "no_proxy": "a", "X": "1"}
    usable, (problem,) = usable_variables(written)
    assert usable == {**written, name: ""}
    assert name in problem.message
    assert CANARY not in problem.message + "".join(problem.hint)
    assert usable_variables({"https_proxy": "http://h:1"}) == ({"https_proxy": "http://h:1"}, ())


# What is found.


def test_a_world_where_all_works(world: World, tmp_path: Path) -> None:
    """Every host delivers; the hub's file was learned from its listing, and the token went to Kaggle alone."""
    session = drawn_session(world, tmp_path)
    found = survey(("cc3m", "sbu"), session)
    assert world.origin.requests == []
    findings = look(found, session)
    assert [finding.cause.key for finding in findings.values()] == ["works", "works"]
    hub = next(finding for (place, _), finding in findings.items() if "127.0.0.1" in place)
    assert hub.file == world.sources.cc3m.train[0].name
    assert hub.probe.wanted_bytes == world.sources.cc3m.train[0].stat().st_size
    assert command(found, findings) == "g3m get cc3m sbu"
    assert {
        ("authorization" in r.headers, r.listener, r.path.startswith("/api/v1"))
        for r in world.origin.requests
    } == {
        (True, "site", True),
        (False, "site", False),
        (False, "storage", False),
    }
    assert not (tmp_path / "data").exists()


def test_a_listing_that_is_kept_is_not_asked_for(world: World, tmp_path: Path) -> None:
    """Where the plan knows the files, one of them is asked for at once."""
    session = drawn_session(world, tmp_path)
    session.store.prepare()
    path = session.store.plan("cc3m.listing.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = world.sources.cc3m.train[0]
    body = {
        "format": 1,
        "repository": CC3M_REPOSITORY,
        "revision": CC3M_COMMIT,
        "include": "cc3m-train-*.tar",
    }
    row = [file.name, file.stat().st_size, f"sha256:{'0' * 64}"]
    path.write_text(json.dumps({**body, "files": [row]}))
    found = survey(("cc3m",), session)
    assert [(place.file, place.listing) for place in found.places] == [(file.name, None)]
    assert [finding.cause.key for finding in look(found, session).values()] == ["works"]
    assert not any("/api/datasets/" in request.path for request in world.origin.requests)


def test_a_hub_that_is_blocked(tmp_path: Path) -> None:
    """Where the listing cannot be had, its own failure is the finding, and there is no command."""
    session = plain(tmp_path, hub_endpoint="http://127.0.0.1:9")
    found = survey(("cc3m",), session)
    findings = look(found, session)
    assert [finding.cause.key for finding in findings.values()] == ["refused"]
    assert command(found, findings) == ""
    assert judge(found.needs, [finding.outcome for finding in findings.values()])[0].missing == (
        "http://127.0.0.1:9",
    )


@pytest.mark.parametrize(
    ("mischief", "cause"),
    [
        (Page(), "page"),
        (Status(200, body="{}"), "no-listing"),
        (Status(200, body="[]"), "no-listing"),
        (Status(200, body='[{"type": "file", "path": 7, "size": "x"}]'), "no-listing"),
        (Status(200, body="[[["), "no-listing"),
        (Status(404), "missing"),
    ],
)
def test_a_hub_that_talks_nonsense(world: World, tmp_path: Path, mischief: Any, cause: str) -> None:
    """What is no listing is called so, whatever it is."""
    session = drawn_session(world, tmp_path)
    world.origin.mischief("/api/datasets/*", mischief, times=None)
    assert [f.cause.key for f in look(survey(("cc3m",), session), session).values()] == [cause]


def test_a_mirror_that_redirects_large_files(world: World, tmp_path: Path) -> None:
    """The listing comes, the file is redirected to a host that refuses: that host is named."""
    session = drawn_session(world, tmp_path)
    world.origin.mischief("*/resolve/*", Redirect308("http://localhost:9"), times=None)
    (finding,) = look(survey(("cc3m",), session), session).values()
    assert (finding.cause.key, finding.cause.host) == ("refused", "localhost:9")
    assert [hop.status for hop in finding.probe.hops] == [308, 0]


def test_a_proxy_carries_what_is_blocked(world: World, tmp_path: Path) -> None:
    """Direct there is no such name; over the proxy it comes; the command depends on who named the proxy.

    The origin answers requests in a proxy's form, and so plays the proxy.
    """
    proxy = world.origin.url
    options = {**world.options, "hub_endpoint": "http://hub.drawn.org", "allow_private": True}
    named = plain(tmp_path, {"http_proxy": proxy}, **options)
    found = survey(("cc3m",), named)
    assert [place.name for place in found.places] == ["http://hub.drawn.org", HUB]
    lines = tuple(line for line in found.lines if line.place.name != HUB)
    findings = look(replace(found, lines=lines), named)
    assert findings["http://hub.drawn.org", ""].cause.key == "dns-unknown"
    assert findings["http://hub.drawn.org", proxy].cause.works
    assert command(found, findings) == "g3m get cc3m"
    port = int(proxy.rpartition(":")[2])
    alone = plain(tmp_path, {}, **options)
    found = survey(("cc3m",), alone, [Listener(port=port, speaks=("http",), owner="yours")])
    lines = tuple(line for line in found.lines if line.place.name != HUB)
    assert command(found, look(replace(found, lines=lines), alone)) == f"g3m get cc3m --proxy {proxy}"


def test_a_dead_proxy(world: World, tmp_path: Path) -> None:
    """A variable that names a dead port is found out; where the rest works directly, --no-proxy is proposed."""
    names_of_world = {
        **world.options,
        "hub_endpoint": world.options["hub_endpoint"].replace("127.0.0.1", "hub.lan"),
    }
    session = plain(tmp_path, {"http_proxy": "http://127.0.0.1:9"}, **names_of_world)
    found = survey(("cc3m",), session)
    lines = tuple(line for line in found.lines if line.place.name != HUB)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe_module, "resolve_name", lambda host, timeout_s: (("127.0.0.1",), ""))
        findings = look(replace(found, lines=lines), session)
    assert sorted(finding.cause.key for finding in findings.values()) == ["proxy-dead", "works"]
    assert command(found, findings) == "g3m get cc3m --no-proxy"


def test_a_throttled_host(world: World, tmp_path: Path) -> None:
    """One connection, then four: the sum grows, and the finding says so."""
    session = drawn_session(world, tmp_path)
    world.origin.mischief("/s3/*", Trickle(bytes_per_s=60_000), times=None)
    (finding,) = look(survey(("coco_valid",), session), session).values()
    assert [speed.connections for speed in finding.probe.speeds] == [1, 4]
    assert finding.cause.key == "throttled"
    assert finding.outcome.rate_bytes_per_s == finding.probe.speeds[1].rate_bytes_per_s


@pytest.mark.parametrize("times", [1, 2, None])
def test_a_connection_that_breaks_off(world: World, tmp_path: Path, times: int | None) -> None:
    """Every connection ends in the middle of the file, and the next one goes on: that can be lived with."""
    session = drawn_session(world, tmp_path)
    world.origin.mischief("/s3/*", Reset(after_bytes=70_000), times=times)
    (finding,) = look(survey(("coco",), session), session).values()
    assert (finding.cause.key, finding.cause.works) == ("breaks", True)


@dataclass
class Enough:
    """A wall that resets a connection in the middle of the file and answers nothing from then on."""

    asked: int = 0

    def spoil(self, exchange: Exchange) -> Reply | None:
        self.asked += 1
        later = Reset(after_bytes=70_000) if self.asked == 2 else Silence()
        return None if self.asked == 1 else later.spoil(exchange)


def test_a_wall_that_has_seen_enough(world: World, tmp_path: Path) -> None:
    """After the break no byte comes any more: that host does not work, whatever its first answer was."""
    session = drawn_session(world, tmp_path)
    world.origin.mischief("/s3/*", Enough(), times=None)
    (finding,) = look(survey(("coco",), session), session).values()
    assert (finding.cause.key, finding.cause.works) == ("cut-reset", False)
    assert finding.probe.hops[-1].body_bytes == 70_000


def test_a_wrong_size(world: World, tmp_path: Path) -> None:
    """A file of another size than the recipe's is no source."""
    session = drawn_session(world, tmp_path)
    found = survey(("coco_valid",), session)
    place = replace(found.lines[0].place, wanted_bytes=123_456_789)
    (finding,) = examine([replace(found.lines[0], place=place)], session, LIMITS)
    assert finding.cause.key == "foreign"
    assert "123456789" in finding.cause.words[0]
