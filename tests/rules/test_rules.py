"""The rules of our own: what each objects to, what it leaves alone, and that src/g3m keeps them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tools.rules import ALLOWED, RULES, main, objections

ROOT = Path(__file__).resolve().parents[2]

AGAINST = {
    "unpacking": [
        "import tarfile",
        "from zipfile import ZipFile",
        "import shutil\nshutil.unpack_archive(a, b)",
        "from shutil import unpack_archive as take",
        "archive.extractall(folder)",
        "archive.extract(member, folder)",
        "import importlib\nimportlib.import_module('zipfile')",
    ],
    "pickles": [
        "import pickle",
        "from marshal import loads",
        "import shelve",
        "import cloudpickle as safe",
        "import torch\ntorch.load(path)",
        "from torch import load\nload(path, weights_only=True)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, None, trust)",
    ],
    "code": [
        "eval(text)",
        "exec(text)",
        "compile(text, name, 'exec')",
        "__import__(name)",
        "import os\nos.system(line)",
        "import os as o\nrun = o.popen",
        "from os import execvp\nexecvp(*words)",
        "import subprocess\nsubprocess.run(line, shell=True, timeout=1)",
        "import subprocess\nsubprocess.getoutput(line)",
    ],
    "yaml": ["import yaml", "from ruamel.yaml import YAML"],
    "http": [
        "import requests",
        "from urllib.request import urlopen",
        "import urllib.request",
        "from urllib import request",
        "import httpx",
        "from urllib3 import PoolManager",
        "def late():\n    import aiohttp",
        "from http import client",
    ],
    "handles": ["import pycurl\neasy = pycurl.Curl()", "from pycurl import Curl\neasy = Curl()"],
    "patience": [
        "import subprocess\nsubprocess.run(words)",
        "from subprocess import check_output as ask\nask(words, timeout=None)",
        "import subprocess\nsubprocess.Popen(words)",
        "process.communicate(data)",
        "import socket\nsocket.create_connection(place)",
        "import socket\nsocket.create_connection(place, None)",
    ],
    "certificates": [
        "import pycurl\neasy.setopt(pycurl.SSL_VERIFYPEER, 0)",
        "import pycurl\neasy.setopt(pycurl.SSL_VERIFYHOST, value)",
        "from pycurl import PROXY_SSL_VERIFYPEER\neasy.setopt(PROXY_SSL_VERIFYPEER, 0)",
        "import ssl\ncontext.verify_mode = ssl.CERT_NONE",
        "import ssl\nssl._create_unverified_context()",
        "context.check_hostname = False",
        "get(url, verify=False)",
        "client['allow_invalid_certificates'] = True",
        "Store(allow_invalid_certificates=True)",
    ],
    "loopback": [
        "listening.bind(('', 80))",
        "listening.bind(('0.0.0.0', port))",
        "import uvicorn\nuvicorn.Config(app, host='0.0.0.0')",
        "import socket\nsocket.create_server(('::', 0))",
        "from http.server import ThreadingHTTPServer as S\nS(('', 1), Handler)",
        "import click\nclick.option('--host', default='0.0.0.0')",
    ],
    "pictures": [
        "from PIL import Image\nImage.open(path)",
        "from PIL.Image import open as look\nlook(io.BytesIO(data))",
        "import io\nload().open(io.BytesIO(data))",
        "pillow = load_pillow()\npillow.open(path)",
    ],
    "sql": [
        "db.execute(f'SELECT * FROM t WHERE name = {name}')",
        "db.execute('SELECT ' + columns)",
        "db.execute('SELECT %s' % columns)",
        "db.executescript('DROP TABLE {}'.format(table))",
        "marks = ', '.join('?' * 3)\nmarks = name\ndb.execute(f'SELECT {marks}')",
        "import sqlite3\nsqlite3.connect(path)",
        "db.execute('ATTACH DATABASE ? AS other', (path,))",
        "db.execute('vacuum into ?', (path,))",
        "db.enable_load_extension(True)",
    ],
    "seam": [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "open(path, 'r+b')",
        "open(path, 'x')",
        "open(path, how)",
        "path.open('wb')",
        "import os\nos.fdopen(number, 'wb')",
        "import gzip\ngzip.open(path, 'wb')",
        "import os\nos.open(path, os.O_WRONLY)",
        "import os\nos.open(path, os.O_RDONLY | os.O_CREAT)",
        "from os import O_RDWR as how\nopener(path, how)",
        "import os\nos.replace(a, b)",
        "from os import rename as move\nmove(a, b)",
        "import os\nundo = os.unlink",
        "import os\nos.fsync(number)",
        "import os\nos.pwrite(number, data, 0)",
        "import os\nos.makedirs(path)",
        "import shutil\nshutil.rmtree(path)",
        "import shutil\nshutil.move(a, b)",
        "import tempfile\ntempfile.mktemp()",
        "from tempfile import NamedTemporaryFile",
        "path.write_text(text)",
        "path.write_bytes(data)",
        "path.unlink(missing_ok=True)",
        "path.mkdir(parents=True)",
        "path.replace(other)",
        "self.path.rename(other)",
        "import logging\nlogging.FileHandler(path)",
    ],
}
NOTHING_AGAINST = [
    "import re\nre.compile(text)",
    "import numpy as np\nnp.load(path, allow_pickle=False)",
    "import subprocess\nsubprocess.run(words, timeout=5)",
    "import socket\nsocket.create_connection(place, 2.0)",
    "import pycurl\ndef make() -> pycurl.Curl: ...",
    "from urllib.parse import urlsplit",
    "from http.server import BaseHTTPRequestHandler",
    "listening.bind(('127.0.0.1', 0))",
    "import click\nclick.option('--proxy', default='')",
    "everywhere = ('', '0.0.0.0')",
    "from PIL import Image\nImage.open(path, formats=('JPEG',))",
    "marks = ', '.join('?' * count)\ndb.execute(f'SELECT a FROM t WHERE b IN ({marks})', names)",
    "db.execute(f'{_SAMPLES} WHERE id = ?', (one,))",
    "text.replace('a', 'b')\nwhen.replace(tzinfo=zone)",
    "open(path)\nopen(path, 'rb')\npath.open('rb')\narchive.open(member)",
    "import os\nos.open(path, os.O_RDONLY | os.O_CLOEXEC)",
    "from g3m.adapters import fsio\nfsio.unlink(path)\nfsio.rename(a, b)",
    "shell = 'no word of ours'\nrun(shell=False)",
]


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in AGAINST.items() for text in texts]
)
def test_what_is_planted_is_found(name: str, text: str) -> None:
    """Each way to go against a rule is found by that rule, whatever a module was imported as."""
    assert name in {found.rule for found in objections(text, "steps/planted.py")}


@pytest.mark.parametrize("text", NOTHING_AGAINST)
def test_what_is_right_is_left_alone(text: str) -> None:
    """Code that only looks like a violation is none."""
    assert list(objections(text, "steps/right.py")) == []


def test_every_rule_is_shown_to_fire() -> None:
    """No rule is without a planted violation, and every rule has a sentence."""
    assert {rule.__name__ for rule in RULES} == set(AGAINST)
    assert all(rule.__doc__ for rule in RULES)


def test_our_code_keeps_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    """src/g3m has no violation that is not allowed, and nothing is allowed that is not there."""
    assert main() == 0, capsys.readouterr().out


def test_a_violation_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that `make check` runs prints where the violation is, and fails; so it does for a stale entry."""
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "planted.py").write_text("import os\n\nos.system('true')\n", encoding="utf-8")
    command = [sys.executable, "-m", "tools.rules", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "planted.py:3: code: os.system" in ended.stdout
    assert all(f"nothing is left of '{key}'" in ended.stdout for key in ALLOWED)
    assert "\t$(BIN)/python -m tools.rules\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
