"""ui/demo.py: the demo shows what it says, on this machine alone, and fails where something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

LIMIT_S = 240

# Loaded by the interpreter before anything else. Python's sockets and libcurl's are both watched.
WATCH = """
    import atexit, json, os, socket
    seen, names = [], []
    real = socket.socket.connect
    def connect(self, address):
        seen.append([int(self.family), str(address[0] if isinstance(address, tuple) else address)])
        return real(self, address)
    socket.socket.connect = connect
    asked = socket.getaddrinfo
    def getaddrinfo(host, *more, **keys):
        names.append(str(host))
        return asked(host, *more, **keys)
    socket.getaddrinfo = getaddrinfo
    import pycurl
    class Curl(pycurl.Curl):
        def __init__(self):
            super().__init__()
            self.setopt(pycurl.OPENSOCKETFUNCTION, lambda purpose, address: socket.socket(*address[:3]))
        def setopt(self, option, value):
            if option == pycurl.OPENSOCKETFUNCTION:
                given = value
                def value(purpose, address):
                    seen.append([int(address[0]), str(address[3][0])])
                    return given(purpose, address)
            return super().setopt(option, value)
    pycurl.Curl = Curl
    atexit.register(lambda: open(os.environ["SEEN"], "w").write(json.dumps([seen, names])))
"""

# A byte of every shard goes wrong between packing and the disk.
CORRUPT = """
    import g3m.adapters.shards as shards
    real = shards.ShardWriter.add
    def add(self, key, parts):
        return real(self, key, [(name, data[:-9] + bytes([data[-9] ^ 255]) + data[-8:]) if name == "{field}" else (name, data)
                                for name, data in parts])
    shards.ShardWriter.add = add
"""

BLIND = """
    import g3m.steps.check as check
    def blind(*_):
        yield 0
    check._Passage.go = blind
"""

# Captions change places between shard and catalog.
MIXED = """
    import g3m.adapters.catalog_write as catalog
    real = catalog.spaced
    catalog.spaced = lambda text: real(text).replace("diamond", "circle")
"""

CHATTY = """
    import g3m.core.secrets as secrets
    secrets.Token.header_for = lambda self, url: self.header
"""


def demo(folder: Path, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`g3m demo` in an empty folder, with a script that Python runs before it."""
    site, cwd, temporary = folder / "site", folder / "cwd", folder / "tmp"
    for path in (site, cwd, temporary):
        path.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(textwrap.dedent(script), encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "TMPDIR": str(temporary),
        "PYTHONPATH": path,
        **more,
    }
    return subprocess.run(
        [sys.executable, "-m", "g3m", "demo", *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One run of the demo with every connection written down, behind proxies that are dead."""
    folder = tmp_path_factory.mktemp("demo")
    dead = "http://127.0.0.1:9"
    proxies = {
        "HTTP_PROXY": dead,
        "http_proxy": dead,
        "https_proxy": dead,
        "ALL_PROXY": "socks5h://127.0.0.1:9",
    }
    return folder, demo(folder, WATCH, SEEN=str(folder / "seen.json"), HF_TOKEN="hf_CANARY", **proxies)


def test_the_demo_shows_what_it_promises(watched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Within a minute, behind dead proxies: resumed, fetched again, made again, read back; nothing on stderr."""
    _, done = watched
    assert (done.returncode, done.stderr) == (0, "")
    for word in (
        "the connection ended before the file did; going on",
        "looking for the culprit",
        "1 wrong byte, the first at",
        "again in 1 s",
        "nothing to do, 0 requests",
        "coco_valid/00000.tar: digest",
        "made again",
        "12 pictures of 14 rows",
        "the catalog has 366 samples",
        "found, as many as the shards hold; the first: ",
        "which open without a server",
        "first batch",
        "16 x 3 x 224 x 224",
        "carried the Kaggle key: the one to Kaggle's own host",
        "Next: g3m plan",
    ):
        assert word in done.stdout, word
    assert done.stdout.count("published ") == 6
    stages = [line for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert [line.split()[0] for line in stages] == [str(number) for number in range(1, 10)]
    assert "CANARY" not in done.stdout
    assert "\x1b" not in done.stdout


def test_the_demo_talks_to_this_machine_alone(watched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Every connection, Python's and libcurl's, is to loopback, and no other name is ever looked up."""
    folder, _ = watched
    seen, names = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    assert len(seen) >= 5
    assert {address for _, address in seen} <= {"127.0.0.1", "::1"}
    assert set(names) <= {"127.0.0.1", "localhost", "::1"}


def test_the_demo_leaves_nothing_behind(watched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Neither in the working folder, nor in the home, nor among the temporary files."""
    folder, _ = watched
    assert list((folder / "cwd").iterdir()) == []
    assert list((folder / "tmp").iterdir()) == []
    assert not (folder / "home").exists()


@pytest.mark.parametrize(
    "script",
    [CORRUPT.format(field="jpg"), BLIND, CHATTY, MIXED],
    ids=["wrong bytes", "blind verify", "key to everybody", "search of other words"],
)
def test_a_broken_installation_fails(tmp_path: Path, script: str) -> None:
    """Wrong bytes in shards, a blind verify, a key that goes astray, a wrong search: the demo does not say that all is well."""
    done = demo(tmp_path, script)
    assert done.returncode != 0
    assert "Done in" not in done.stdout


def test_the_demo_in_chinese_keeps_its_files(tmp_path: Path) -> None:
    """--keep leaves the data of the demo in a folder and says where; --lang zh speaks Chinese in the end."""
    kept = tmp_path / "kept"
    done = demo(tmp_path, "", "--keep", str(kept), "--lang", "zh")
    assert done.returncode == 0
    assert done.stdout.endswith(
        f"{kept / 'pages' / 'index.html'}\n{kept / 'data'}\n下一步：g3m plan g3m eval\n"
    )
    assert len(list((kept / "data").glob("*/*/manifest.json"))) == 7
    assert (kept / "pages" / "index.html").is_file()
    assert list((tmp_path / "cwd").iterdir()) == []
