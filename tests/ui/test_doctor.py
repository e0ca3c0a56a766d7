"""ui/doctor.py: all that a bug report needs, and no secret of anybody's."""

from __future__ import annotations

import json
import os
import re
import socket
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.ui.conftest import Command, Desk

from g3m.adapters import probe as probe_module
from g3m.adapters.cores import Core
from g3m.adapters.curl import HttpOptions
from g3m.adapters.disk import Free, Store
from g3m.adapters.listeners import Listener
from g3m.core.cores import Controller, CoreState, Version
from g3m.core.diagnosis import Hop, Probe, Speed, diagnose
from g3m.core.errors import Refused
from g3m.core.verdicts import Need, Way
from g3m.lab.mischief import RedirectTo
from g3m.runners.run import make_session
from g3m.steps.diagnose import Finding, Line, Place, Survey, usable_variables
from g3m.steps.nodes import Found
from g3m.ui import doctor
from g3m.ui.doctor import doctor_lines, examine
from g3m.ui.network import HEIGHT, NETWORK_SCHEMA, WIDTH, Report, network, network_lines
from g3m.ui.words import Speaker

CANARY = "CANARY5f0e"


def secrets_of(home: Path) -> dict[str, str]:
    """Variables and files of a user who has a canary in every secret."""
    for path, text in (
        (home / ".kaggle" / "kaggle.json", json.dumps({"username": "me", "key": f"{CANARY}kj"})),
        (home / ".kaggle" / "access_token", f"{CANARY}at"),
        (home / ".cache" / "huggingface" / "token", f"{CANARY}hf"),
        (home / ".netrc", f"machine huggingface.co login me password {CANARY}nr"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {
        "HF_TOKEN": f"hf_{CANARY}",
        "KAGGLE_USERNAME": "me",
        "KAGGLE_KEY": f"{CANARY}key",
        "KAGGLE_API_TOKEN": f"{CANARY}api",
        "HTTP_PROXY": f"http://me:{CANARY}@127.0.0.1:9",
        "https_proxy": f"me:{CANARY}@127.0.0.1:9",
        "ALL_PROXY": f"socks5h://me:{CANARY}@127.0.0.1:9",
        "NO_PROXY": "localhost,127.0.0.1",
        "MODELSCOPE_API_TOKEN": f"{CANARY}ms",
    }


def config_of(desk: Desk) -> str:
    """The world's settings, with logins in every address that may have one."""
    login = f"//me:{CANARY}@127.0.0.1"
    return (
        desk.world.config().replace("//127.0.0.1", login).replace("//localhost", f"//me:{CANARY}@localhost")
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("doctor", "--json"),
        ("doctor", "sbu", "--lang", "zh"),
        ("status", "--json"),
        ("plan", "all"),
        ("plan", "all", "--json"),
        ("info", "all", "--json"),
        ("list", "--json"),
        ("get", "all", "--yes"),
        ("get", "all", "--yes", "--json"),
        ("get", "coco_vald", "--json"),
        ("verify", "--json"),
    ],
    ids=" ".join,
)
def test_no_secret_is_printed_or_written(desk: Desk, arguments: tuple[str, ...]) -> None:
    """With canaries in tokens, files, proxies and mirrors: none on stdout, on stderr, or in a file below the root."""
    (desk.cwd / "g3m.toml").write_text(config_of(desk), encoding="utf-8")
    desk.world.origin.mischief("*", _broken(), times=2)
    ran = desk.run(*arguments, **secrets_of(Path(desk.variables["HOME"])))
    assert ran.code in (0, 2, 3, 4, 5)
    assert CANARY not in ran.out
    assert CANARY not in ran.err
    (desk.cwd / "g3m.toml").unlink()
    assert CANARY.encode() not in desk.everything_written()


def _broken() -> Any:
    from g3m.lab.mischief import Status

    return Status(404)


def test_a_dead_proxy_with_a_password_is_named_without_it(desk: Desk) -> None:
    """Where the proxy does not answer, the error says so and keeps the password."""
    text = desk.world.config().replace("http://127.0.0.1", "http://drawn.invalid")
    (desk.cwd / "g3m.toml").write_text(text, encoding="utf-8")
    ran = desk.run("plan", "cc3m", http_proxy=f"http://me:{CANARY}@127.0.0.1:9")
    assert ran.code == 0
    assert "the hub's listing cannot be asked for" in ran.err
    assert CANARY not in ran.out + ran.err


def facts_of(tmp_path: Path, variables: dict[str, str], **options: Any) -> dict[str, Any]:
    usable, _ = usable_variables(variables)
    session = make_session({"root": str(tmp_path / "data"), **options}, usable)
    return examine(session, [], variables)


@pytest.mark.parametrize(
    "proxy",
    [
        "http://me:{}@host:3128",
        "me:{}@host:3128",
        "socks5://me:{}@host",
        "https://{}@host:1",
        "http://me:{}@[::1]:3128",
        "http://me:{}@host:notaport",
        "http://me:1/{}@host:3128",
        "http://me:1#{}@host:3128",
        "http://me:1?{}@host:3128",
        "//me:{}@host:3128",
        "http:/me:{}@host:3128",
        "http:me:{}@host:3128",
        "http:///me:{}@host",
        " http://me:{}@host:3128 ",
        "http://host:3128/?password={}",
        "{}@host",
    ],
)
def test_a_proxy_is_shown_without_its_login_however_it_is_written(tmp_path: Path, proxy: str) -> None:
    """A variable written wrongly is what a doctor is asked about: its password is not shown either."""
    facts = facts_of(
        tmp_path, {name: proxy.format(CANARY) for name in ("http_proxy", "HTTPS_PROXY", "all_proxy")}
    )
    shown = json.dumps(facts)
    assert set(facts["proxies"]) == {"http_proxy", "HTTPS_PROXY", "all_proxy"}
    assert CANARY not in shown


def test_a_proxy_without_login_is_shown_whole(tmp_path: Path) -> None:
    """What is needed to find a mistake is there: scheme, host, port, and exceptions as they are."""
    variables = {"ALL_PROXY": "socks5h://host:1080", "no_proxy": "a,.b,*", "http_proxy": "host:3128"}
    assert facts_of(tmp_path, variables)["proxies"] == {
        "http_proxy": "http://host:3128",
        "ALL_PROXY": "socks5h://host:1080",
        "no_proxy": "a,.b,*",
    }


def test_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, disk, tokens as yes or no, and each setting with its origin; all of it is JSON."""
    monkeypatch.setattr(Store, "free", lambda _: Free(10**12, 10**7))
    session = make_session(
        {"root": str(tmp_path / "data"), "hub_endpoint": f"https://me:{CANARY}@mirror/"}, {"HF_TOKEN": CANARY}
    )
    facts = examine(session, [Path("g3m.toml")])
    assert json.loads(json.dumps(facts)) == facts
    assert facts["tokens"] == {"huggingface": True, "kaggle": False}
    assert facts["root"] == str(tmp_path / "data")
    assert (facts["free_bytes"], facts["free_inodes"]) == (10**12, 10**7)
    assert facts["cores"] == os.cpu_count()
    assert facts["config_files"] == ["g3m.toml"]
    assert facts["settings"]["hub_endpoint"] == {"value": "https://mirror/", "from": "argument"}
    assert set(facts["packages"]) == set(doctor.PACKAGES)
    assert facts["packages"]["click"]
    assert facts["libcurl"].startswith("PycURL/")
    assert facts["run"] is None
    assert facts["warnings"] == [] or all(line.startswith("this Python") for line in facts["warnings"])
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("free", "variables", "root", "word"),
    [
        (Free(10**9, None), {}, "data", "only 1.0 GB free"),
        (Free(10**12, 3), {}, "data", "only 3 inodes free"),
        (Free(10**12, None), {"http_proxy": "socks4://h:1"}, "data", "http_proxy has an unusual scheme"),
        (Free(10**12, None), {"ALL_PROXY": "socks://h:1"}, "data", "ALL_PROXY has an unusual scheme"),
        (Free(10**12, None), {}, "home/data", "lies in the home folder"),
    ],
)
def test_warnings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: Free,
    variables: dict[str, str],
    root: str,
    word: str,
) -> None:
    """The first things that go wrong are told before they do."""
    monkeypatch.setattr(Store, "free", lambda _: free)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    facts = examine(make_session({"root": str(tmp_path / root)}, variables), [])
    assert [word in line for line in facts["warnings"] if not line.startswith("this Python")] == [True]


def test_no_warning_without_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough disk, a usual proxy, a root outside the home: silence."""
    monkeypatch.setattr(Store, "free", lambda _: Free(10**12, 10**7))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    variables = {"https_proxy": "socks5h://h:1", "no_proxy": "socks://x"}
    facts = examine(make_session({"root": str(tmp_path / "data")}, variables), [])
    assert [line for line in facts["warnings"] if not line.startswith("this Python")] == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_lines_for_people(tmp_path: Path, lang: str) -> None:
    """Every fact has its line; tokens say to which hosts they go, absent ones what they are for."""
    session = make_session(
        {"root": str(tmp_path / "data"), "hub_token_hosts": ["own.hub"]},
        {"HF_TOKEN": CANARY, "http_proxy": f"http://me:{CANARY}@p:1", "SLURM_JOB_ID": "77"},
    )
    session.store.prepare()
    session.store.work.joinpath("lock").write_text(
        json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "token": "t"}), encoding="utf-8"
    )
    text = "\n".join(doctor_lines(examine(session, [Path("g3m.toml")]), session, Speaker(lang)))
    for word in (
        "own.hub",
        "proxy     http_proxy=http://p:1",
        "variable  SLURM_JOB_ID=77",
        "config    g3m.toml",
    ):
        assert word in text
    assert f"hub_token_hosts = {['own.hub']} (argument)" in text
    assert str(os.getpid()) in text
    assert CANARY not in text
    for name in ("doctor-token-hub", "doctor-token-kaggle", "doctor-absent-kaggle"):
        assert Speaker(lang).say(name) in text


# The network.

HUB, MIRROR, CDN = "huggingface.co", "hub-mirror.example.org", "cas-bridge.xethub.hf.co"
S3, OPEN, GCS = "s3.amazonaws.com", "open-images-dataset.s3.amazonaws.com", "storage.googleapis.com"
DIRECT = Way()
PROXY = Way(proxy="http://127.0.0.1:7890", origin="listener")


def stopped(host: str, stage: str, *flags: str, **more: Any) -> Hop:
    return Hop(host=host, stage=stage, flags=frozenset(flags), **more)


def good(host: str, **more: Any) -> Hop:
    return Hop(host=host, status=206, size_bytes=10, **more)


def moved(host: str, to: str, **more: Any) -> Hop:
    return Hop(host=host, status=302, leads_to=to, **more)


def finding(place: str, way: Way, *hops: Hop, rates: tuple[float, ...] = (), endpoint: str = "") -> Finding:
    speeds = tuple(
        Speed(connections=count, body_bytes=1, seconds=1.0, rate_bytes_per_s=rate)
        for count, rate in zip((1, 4), rates, strict=False)
    )
    url = place if place.startswith("http://") else f"https://{place}"
    where = Place(url=url, file="x", wanted_bytes=10, endpoint=endpoint)
    hops = tuple(replace(hop, proxy=way.proxy) for hop in hops)
    probe = Probe(hops=hops, wanted_bytes=10, speeds=speeds)
    return Finding(line=Line(place=where, way=way), file="x", probe=probe, cause=diagnose(probe))


def report_of(*findings: Finding, needs: tuple[Need, ...] = (), **more: Any) -> Report:
    survey = Survey(lines=tuple(found.line for found in findings), needs=needs)
    return Report(survey=survey, findings=findings, **{"seconds": 14.2, **more})


def shanghai() -> Report:
    """The network of a laboratory behind a wall, with a proxy of the user's own that nothing names."""
    return report_of(
        finding(MIRROR, DIRECT, moved(MIRROR, CDN), stopped(CDN, "tcp", "timeout")),
        finding(MIRROR, PROXY, moved(MIRROR, CDN), good(CDN), rates=(1.9e6, 2.0e6)),
        finding(HUB, DIRECT, stopped(HUB, "tls", "reset"), endpoint=f"https://{HUB}"),
        finding(
            HUB,
            PROXY,
            moved(HUB, CDN, signed_in=True),
            good(CDN),
            rates=(2.0e6, 2.1e6),
            endpoint=f"https://{HUB}",
        ),
        finding(
            "www.kaggle.com", DIRECT, stopped("www.kaggle.com", "tcp", "refused", addresses=("127.0.0.1",))
        ),
        finding("www.kaggle.com", PROXY, moved("www.kaggle.com", GCS), good(GCS), rates=(1.7e6, 1.8e6)),
        finding(S3, DIRECT, good(S3), rates=(2.1e5, 8.3e5)),
        finding(S3, PROXY, good(S3), rates=(1.9e6, 2.0e6)),
        finding(
            "http://images.cocodataset.org",
            DIRECT,
            stopped("images.cocodataset.org", "done", "page", status=200),
        ),
        finding("http://images.cocodataset.org", PROXY, good("images.cocodataset.org"), rates=(1.9e6, 2.0e6)),
        finding(OPEN, DIRECT, good(OPEN), rates=(2.0e5, 7.9e5)),
        finding(OPEN, PROXY, good(OPEN), rates=(1.9e6, 2.0e6)),
        finding(GCS, DIRECT, stopped(GCS, "tcp", "timeout")),
        finding(GCS, PROXY, good(GCS), rates=(1.8e6, 1.9e6)),
        needs=(
            Need(dataset="cc3m", places=(MIRROR, HUB), size_bytes=275_000_000_000),
            Need(dataset="sbu", places=("www.kaggle.com",), size_bytes=20_150_000_000),
            Need(dataset="coco", places=(S3, "http://images.cocodataset.org"), size_bytes=19_600_000_000),
            Need(dataset="openimages_v7_valid", places=(OPEN, S3), size_bytes=12_844_530_798),
            Need(dataset="openimages_v7_valid", places=(GCS,), size_bytes=1_139_215_790),
        ),
        names=("g3m", "eval"),
        around=Found(
            core=Core(Controller(port=9090), None, HttpOptions(user_agent="t")),
            version=Version("mihomo", "v1.19.32"),
            state=CoreState(mode="rule"),
            listeners=(
                Listener(port=7890, speaks=("http", "socks5"), owner="yours"),
                Listener(port=1080, speaks=("socks5",), owner="other", uid=1007),
            ),
        ),
        notes=(("all_proxy: socks:// is read as socks5h://", "all_proxy：socks:// 按 socks5h:// 处理"),),
        has_token=True,
    )


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_one_screen_behind_a_wall(lang: str, snapshot: Callable[[str, str], None]) -> None:
    """Every cause in words, every speed, where the token went, and one command, on one screen."""
    lines = list(network_lines(shanghai(), Speaker(lang)))
    assert len(lines) <= HEIGHT
    assert max(map(columns, lines)) <= WIDTH
    assert "g3m get g3m eval --proxy http://127.0.0.1:7890" in lines[-1]
    snapshot(f"doctor-network-{lang}", "\n".join(lines) + "\n")


def test_the_network_as_json() -> None:
    """Everything that people see and more, under keys that stay."""
    body = network(shanghai())
    assert json.loads(json.dumps(body)) == body
    assert body["schema"] == NETWORK_SCHEMA == 1
    assert set(body) == {
        "schema",
        "seconds",
        "ways",
        "places",
        "probes",
        "datasets",
        "token_sent_to",
        "notes",
        "core",
        "core_warnings",
        "listeners",
        "command",
    }
    assert body["ways"] == [
        {"way": "direct", "from": None},
        {"way": "http://127.0.0.1:7890", "from": "listener"},
    ]
    probe = body["probes"][0]
    assert set(probe) == {
        "place",
        "way",
        "file",
        "wanted_bytes",
        "works",
        "cause",
        "host",
        "words",
        "rate_bytes_per_s",
        "speeds",
        "hops",
    }
    assert (probe["place"], probe["way"], probe["cause"], probe["host"]) == (MIRROR, "direct", "silent", CDN)
    assert [hop["leads_to"] for hop in probe["hops"]] == [CDN, ""]
    assert {"place": HUB, "in_use": False, "datasets": ["cc3m"]} in body["places"]
    cc3m = body["datasets"][0]
    assert (cc3m["dataset"], cc3m["carried"], cc3m["missing"]) == ("cc3m", True, [])
    assert cc3m["over"] == [{"place": HUB, "way": "http://127.0.0.1:7890"}]
    assert cc3m["seconds"] == round(275_000_000_000 / 2.1e6)
    assert body["token_sent_to"] == [HUB]
    assert body["core"]["kind"] == "mihomo"
    assert body["command"] == "g3m get g3m eval --proxy http://127.0.0.1:7890"


def test_nothing_works() -> None:
    """Then there is no command, but a word on what can be done."""
    need = Need(dataset="cc3m", places=(HUB,))
    report = report_of(finding(HUB, DIRECT, stopped(HUB, "tcp", "timeout")), needs=(need,))
    assert network(report)["command"] is None
    for lang in ("en", "zh"):
        text = "\n".join(network_lines(report, Speaker(lang)))
        assert "cc3m" in text
        assert "g3m doctor --proxy" in text.replace("\n          ", " ")


def test_only_a_part_works() -> None:
    """The command names what can come, and the rest is said."""
    needs = (Need(dataset="cc3m", places=(HUB,)), Need(dataset="coco", places=(S3,), size_bytes=10))
    blocked = finding(HUB, DIRECT, stopped(HUB, "dns", "unknown"))
    lines = list(network_lines(report_of(blocked, finding(S3, DIRECT, good(S3)), needs=needs), Speaker("en")))
    assert lines[1:] == [
        f"host      {HUB}    direct: DNS says that there is no such name",
        f"host      {S3}  direct: works",
        f"dataset   cc3m: no way to {HUB}",
        "dataset   coco: direct",
        "command   g3m get coco",
    ]


def test_a_broken_proxy_is_told_once() -> None:
    """What is wrong with a proxy itself is said with the proxy and not again for every host."""
    way = Way(proxy="http://127.0.0.1:7890", origin="https_proxy")
    dead = [finding(place, way, stopped(place, "tcp", "refused")) for place in (HUB, S3)]
    alive = [finding(place, DIRECT, good(place)) for place in (HUB, S3)]
    need = Need(dataset="cc3m", places=(HUB,))
    lines = list(network_lines(report_of(*dead, *alive, needs=(need,)), Speaker("en")))
    assert (
        lines[1] == "way       127.0.0.1:7890 (http, from https_proxy): nothing listens at the proxy's port"
    )
    assert lines[2:] == [
        f"host      {HUB}, {S3}  direct: works",
        "dataset   cc3m: direct",
        "command   g3m get cc3m --no-proxy",
    ]


def test_a_proxy_that_fails_for_one_host_is_told_with_that_host() -> None:
    """One failure does not make a proxy broken, and hides nothing."""
    way = Way(proxy="http://127.0.0.1:7890", origin="https_proxy")
    found = [finding(HUB, way, stopped(HUB, "proxy", "timeout")), finding(S3, way, good(S3))]
    lines = list(network_lines(report_of(*found), Speaker("en")))
    assert lines[1] == "way       127.0.0.1:7890 (http, from https_proxy)"
    assert lines[2] == f"host      {HUB}    127.0.0.1:7890: the proxy takes the connection and says nothing"
    assert lines[3] == f"host      {S3}  127.0.0.1:7890: works"


def test_hosts_and_ways_that_fare_alike_share_a_line() -> None:
    """One sentence for what is the same."""
    second = Way(proxy="socks5h://10.0.0.1:1080", origin="all_proxy")
    lines = [
        finding(place, way, stopped(place, "tls", "reset"))
        for place in (HUB, GCS)
        for way in (DIRECT, replace(second, origin="config.toml"))
    ]
    shown = "\n".join(network_lines(report_of(*lines), Speaker("en")))
    text = re.sub(r"\n {12,}(?=by)", " ", shown).splitlines()
    assert text[1] == "way       10.0.0.1:1080 (socks5h, from your config file)"
    assert text[2].startswith(f"host      {HUB}, {GCS}  direct: reset once its name is said")
    assert text[3].strip() == "10.0.0.1:1080: the proxy accepts, but its node or rule gets nowhere"


@pytest.mark.parametrize("count", [3, 6, 12])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_many_ways_are_still_one_screen(count: int, lang: str) -> None:
    """More than fits is put closer together, and then cut, with a word about it."""
    ways = [DIRECT, *(Way(proxy=f"http://10.0.0.{n}:7890", origin="--proxy") for n in range(1, count))]
    places = [HUB, MIRROR, S3, OPEN, GCS, "www.kaggle.com", "http://images.cocodataset.org"]
    found = [
        finding(place, way, good(place), rates=(1e6 + 1e5 * n + 1e4 * m, 1e6))
        for n, place in enumerate(places)
        for m, way in enumerate(ways)
    ]
    lines = list(
        network_lines(report_of(*found, needs=(Need(dataset="cc3m", places=(HUB,)),)), Speaker(lang))
    )
    assert len(lines) <= HEIGHT
    assert max(map(columns, lines)) <= WIDTH
    assert ("--json" in "\n".join(lines)) == (count == 12)


def test_what_a_core_leaves_open() -> None:
    """The warnings of `g3m proxy status` stand here, too."""
    report = replace(shanghai(), around=replace(shanghai().around, risks=("empty-secret", "open-proxy")))
    lines = list(network_lines(report, Speaker("en")))
    text = re.sub(r"\n +", " ", "\n".join(lines))
    assert Speaker("en").say("proxy-warn-secret") in text
    assert Speaker("en").say("proxy-warn-open") in text
    assert network(report)["core_warnings"] == ["empty-secret", "open-proxy"]


def test_a_core_in_tun_mode() -> None:
    """An address of 198.18.0.0/15 is explained and not called false."""
    fake = finding(HUB, DIRECT, good(HUB, addresses=("198.18.0.9",)))
    text = "\n".join(network_lines(report_of(fake), Speaker("en")))
    assert f"dns       {HUB} is answered with 198.18.0.9: a proxy in TUN mode" in text


@pytest.mark.parametrize(
    ("hops", "words"),
    [
        ((good(HUB, signed_in=True),), f"token     sent to {HUB} and to none of the 0 other hosts"),
        ((good(HUB),), "token     sent to none of these hosts"),
    ],
)
def test_where_the_token_went(hops: tuple[Hop, ...], words: str) -> None:
    """It is said where there is one, and only then."""
    report = report_of(finding(HUB, DIRECT, *hops), has_token=True)
    assert words in list(network_lines(report, Speaker("en")))
    assert not any(
        line.startswith("token") for line in network_lines(replace(report, has_token=False), Speaker("en"))
    )


# The command.


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """No core, no listener, and a resolver that knows `localhost` and what a test adds."""
    known = {"localhost": "127.0.0.1"}

    def answer(host: str, timeout_s: float) -> tuple[tuple[str, ...], str]:
        return ((known[host],), "") if host in known else ((), "unknown")

    monkeypatch.setattr(probe_module, "resolve_name", answer)
    monkeypatch.setattr("g3m.steps.nodes.look_around", lambda session, wish: Found())
    return known


def test_doctor_in_a_world_that_works(here: Command, desk: Desk, alone: dict[str, str]) -> None:
    """Facts first, then the network; exit 0; the message about waiting goes to stderr; nothing is written."""
    ran = here("doctor", "cc3m", "sbu")
    assert ran.code == 0
    assert ran.out.index("packages") < ran.out.index("network   hosts: 2, ways: 1")
    assert ran.out.endswith("command   g3m get cc3m sbu\n")
    assert "Asking hosts: 2" in ran.err
    assert not desk.root.exists()
    (body,) = here("doctor", "cc3m", "sbu", "--json").documents
    assert [probe["cause"] for probe in body["network"]["probes"]] == ["works", "works"]
    assert body["schema"] == 1
    assert body["packages"]
    assert here("doctor", "--lang", "zh").out.endswith("命令      g3m get g3m eval\n")


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_doctor_offline(here: Command, desk: Desk, alone: dict[str, str], by: str) -> None:
    """Nothing is asked of any host."""
    more = {"G3M_OFFLINE": "1"} if by == "variable" else {}
    flags = () if more else ("--offline",)
    (body,) = here("doctor", "--json", *flags, **more).documents
    assert body["network"] is None
    assert "host  " not in here("doctor", *flags, **more).out
    assert desk.world.origin.requests == []


def test_no_secret_of_the_network_is_shown(here: Command, desk: Desk, alone: dict[str, str]) -> None:
    """Logins in proxies that work, fail or cannot be read, tokens, and signed redirects: none appears."""
    origin = desk.world.origin
    config = desk.world.config().replace(
        f'hub_endpoint = "{origin.url}"', 'hub_endpoint = "http://hub.drawn.lan"'
    )
    (desk.cwd / "g3m.toml").write_text(config, encoding="utf-8")
    target = f"{origin.url}/nothing.tar?X-Amz-Signature={CANARY}sig"
    origin.mischief("*/resolve/*", RedirectTo(target), times=None)
    login = f"http://me:{CANARY}@"
    variables = {
        **secrets_of(Path(desk.variables["HOME"])),
        "HTTP_PROXY": "",
        "http_proxy": login + origin.url.partition("//")[2],
        "https_proxy": f"ftp://me:{CANARY}@h:1",
        "ALL_PROXY": f"{CANARY}://me@h:1",
    }
    arguments = ("doctor", "cc3m", "sbu", "--allow-private", "--proxy", f"{login}127.0.0.1:9")
    for more in ((), ("--json",), ("--lang", "zh")):
        ran = here(*arguments, *more, **variables)
        assert ran.code == 0, ran.err
        assert "hub.drawn.lan" in ran.out
        assert "127.0.0.1:9" in ran.out
        assert CANARY not in ran.out + ran.err
    assert any(request.query.endswith(f"{CANARY}sig") for request in origin.requests)


def test_a_variable_that_cannot_be_used_is_a_note(here: Command, alone: dict[str, str]) -> None:
    """What is wrong with the network's variables is a finding of the doctor, not its end."""
    ran = here("doctor", "cc3m", https_proxy="ftp://h:1", all_proxy="socks://127.0.0.1:9")
    assert ran.code == 0
    assert "note      https_proxy: its scheme is none of http, https, socks5h, socks4a (" in ran.out
    assert "note      all_proxy: socks:// is read as socks5h://" in ran.out
    assert "proxy     https_proxy=?://h:1" in ran.out
    ran = here("doctor", "cc3m", "--lang", "zh", all_proxy="socks://127.0.0.1:9")
    assert "提示      all_proxy：socks:// 按 socks5h:// 处理" in ran.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--proxy", "ftp://h:1"), "--proxy"),
        (("nothing",), "nothing"),
        (("--proxy", "http://h:0"), "--proxy"),
    ],
)
def test_doctor_used_wrongly(
    here: Command, alone: dict[str, str], arguments: tuple[str, ...], word: str
) -> None:
    """An option or a name that is wrong is an error of usage."""
    ran = here("doctor", *arguments)
    assert ran.code == 2
    assert word in ran.err


def test_a_core_that_does_not_let_us_in(
    here: Command, alone: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are a note; a search that fails altogether is one, too."""
    locked = Refused("127.0.0.1:9090: the core refuses the secret", hint=("set it", "请设置"))
    monkeypatch.setattr("g3m.steps.nodes.look_around", lambda session, wish: Found(locked=locked))
    assert "note      127.0.0.1:9090: the core refuses the secret (set it)" in here("doctor", "cc3m").out

    def fails(session: object, wish: object) -> Found:
        raise locked

    monkeypatch.setattr("g3m.steps.nodes.look_around", fails)
    assert "（请设置）" in here("doctor", "cc3m", "--lang", "zh").out
