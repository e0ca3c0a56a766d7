"""Rules of this repository about its own code in src/g3m, checked by `make check`; ruff has all the others.

    .venv/bin/python -m tools.rules [FOLDER]

A rule is a function that looks at one file and yields what it objects to: nodes, each with a word for it.
ALLOWED says which words stand where, and why; an entry that fits nothing any more is an error too. That each
rule fires is shown in tests/rules/test_rules.py.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tools.syntax import File, Found, argument, is_constant, text_of

SOURCE = Path(__file__).resolve().parent.parent / "src" / "g3m"

ALLOWED = {
    "lab/* unpacking zipfile": "the lab writes the archives that its servers offer",
    "lab/* unpacking tarfile": "the same",
    "lab/* seam *": "files of a demo and of tests, which nobody keeps",
    "steps/energon.py unpacking tarfile": "reads headers of finished shards, as Energon does",
    "steps/energon.py sql sqlite3.connect": "makes the table that Energon asks for, anew each time",
    "adapters/catalog_file.py sql sqlite3.connect": "the one home of the catalog",
    "adapters/catalog_file.py sql a made statement": "PRAGMA takes no parameters; its names are in the code",
    "adapters/catalog_erase.py sql a made statement": "the tables' names stand in the line above",
    "adapters/catalog_walk.py sql a made statement": "its one choice is a direction",
    "adapters/curl.py handles pycurl.Curl": "it is make_handle",
    "adapters/turns.py pickles pickle": "back out of a file without a name, which is ours alone",
    "adapters/guard.py patience subprocess.Popen": "the worker has limits, and waiting for it has",
    "adapters/guard.py seam os.write": "a pipe to the process that decodes",
    "adapters/worker.py seam os.write": "a pipe from the process that decodes",
    "adapters/worker.py seam os.O_RDWR": "/dev/null, in place of stdin and stdout",
    "ui/terminal.py seam os.write": "the terminal, from the handler of a signal",
    "ui/watch.py seam os.write": "the terminal, from the handler of a signal",
    "ui/streams.py seam os.O_RDWR": "/dev/null, in place of what is closed",
    "ui/streams.py seam os.O_WRONLY": "/dev/null, in place of what is full",
    "ui/streams.py seam os.fdopen('w?')": "that, as a stream",
    "ui/browser.py seam tempfile": "the page with the token, in a folder of one's own",
    "ui/browser.py seam shutil.rmtree": "that folder",
    "ui/browser.py seam .touch": "that page",
    "ui/browser.py seam .write_text": "that page",
    "ui/demo.py seam tempfile": "the demo's folder, which goes with it",
    "ui/demo.py seam .write_bytes": "the demo damages a shard of its own",
    "adapters/fsio.py seam *": "it is the seam",
}
"""A file or a folder of src/g3m, a rule and what stands there; and why it may."""


class Objection(NamedTuple):
    """A place in a file that a rule objects to; `word` names what stands there."""

    path: str
    line: int
    rule: str
    word: str
    sentence: str


RULES: list[Callable[[File], Found]] = []


def rule(look: Callable[[File], Found]) -> Callable[[File], Found]:
    """A rule, whose name and sentence are its function's; it yields the places that go against it."""
    RULES.append(look)
    return look


@rule
def unpacking(file: File) -> Found:
    """Archives are read member by member by adapters/zip.py and adapters/tar.py and never unpacked."""
    yield from file.imported("tarfile zipfile")
    for node, name in file.names():
        if name.rpartition(".")[2] in ("extractall", "unpack_archive") or name == ".extract":
            yield node, name


@rule
def pickles(file: File) -> Found:
    """Bytes that may come from elsewhere never become objects that can run code."""
    yield from file.imported("pickle marshal shelve dill cloudpickle joblib")
    for node, name in file.names():
        if name in ("torch.load", "torch.hub.load", "torch.jit.load"):
            yield node, name
    for call, name in file.calls():
        if name in ("numpy.load", "numpy.lib.format.read_array"):
            allowed = argument(call, "allow_pickle", 2)
            if allowed and not is_constant(allowed, False):
                yield call, "allow_pickle"


_RUNNING = re.compile(
    r"eval|exec|compile|__import__|subprocess\.get(status)?output"
    r"|os\.(system|popen|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?)"
)


@rule
def code(file: File) -> Found:
    """Text never becomes code, and no shell is started."""
    yield from file.imported("runpy code codeop pty")
    for node, name in file.names():
        if _RUNNING.fullmatch(name):
            yield node, name
    for call, _ in file.calls():
        if (shell := argument(call, "shell")) and not is_constant(shell, False):
            yield call, "shell="


@rule
def yaml(file: File) -> Found:
    """YAML has tags that make objects; what little of it is written is written by hand."""
    yield from file.imported("yaml ruamel")


@rule
def http(file: File) -> Found:
    """There is one HTTP stack, on libcurl: adapters/http.py and adapters/crowd.py."""
    yield from file.imported(
        "requests httpx urllib3 aiohttp urllib.request http.client ftplib smtplib telnetlib xmlrpc boto3"
    )


@rule
def handles(file: File) -> Found:
    """A handle of libcurl is made by make_handle in adapters/curl.py, which sets what must always be set."""
    for call, name in file.calls():
        if name == "pycurl.Curl":
            yield call, name


@rule
def patience(file: File) -> Found:
    """Whatever waits for another process or machine has a time limit."""
    waiting = {f"subprocess.{name}": 99 for name in ("run", "call", "check_call", "check_output")}
    waiting |= {"socket.create_connection": 1, ".communicate": 1}
    for call, name in file.calls():
        if name == "subprocess.Popen":
            yield call, name
        elif name in waiting:
            limit = argument(call, "timeout", waiting[name])
            if limit is None or is_constant(limit, None):
                yield call, name


@rule
def certificates(file: File) -> Found:
    """Certificates are always checked."""
    for node, name in file.names():
        if re.fullmatch(r"pycurl\.(PROXY_|DOH_)?SSL_VERIFY\w+|ssl\.(CERT_NONE|_create_\w+)", name):
            yield node, name
    for node in file.nodes:
        if isinstance(node, ast.Assign) and any(file.name(one) == ".check_hostname" for one in node.targets):
            yield node, ".check_hostname"
        elif isinstance(node, ast.keyword) and node.arg in _CHECKING and is_constant(node.value, False):
            yield node.value, f"{node.arg}="
        elif (text_of(node) or (node.arg if isinstance(node, ast.keyword) else None)) in _NOT_CHECKING:
            yield node, "allow_invalid"


_CHECKING = ("verify", "check_hostname")
_NOT_CHECKING = ("allow_invalid_certificates", "allow_invalid_hostnames")


@rule
def loopback(file: File) -> Found:
    """Servers listen on loopback unless the user names another address."""
    for call, name in file.calls():
        hosts = [one.value for one in call.keywords if one.arg in ("host", "address", "bind", "default")]
        if re.search(r"(^|\.)(bind|create_server|start_server|\w*Server)$", name) and call.args:
            first = call.args[0]
            hosts += first.elts[:1] if isinstance(first, ast.Tuple) else [first]
            if any(text_of(host) == "" for host in hosts):
                yield call, "every address"
        if any(text_of(host) in ("0.0.0.0", "::") for host in hosts):  # noqa: S104  # looked for
            yield call, "every address"


@rule
def pictures(file: File) -> Found:
    """Pillow is told which formats may be opened; it has fifty, and some start other programs."""
    for call, name in file.calls():
        of_bytes = any(file.name(one.func) == "io.BytesIO" for one in call.args if isinstance(one, ast.Call))
        plain = name == "PIL.Image.open" or ast.unparse(call.func) in ("Image.open", "pillow.open")
        if plain or (name == ".open" and of_bytes):
            formats = argument(call, "formats", 2)
            if formats is None or is_constant(formats, None):
                yield call, "Image.open"


@rule
def sql(file: File) -> Found:
    """Statements for SQLite are constants, marks for parameters aside, and none reaches for another file."""
    for call, name in file.calls():
        if name == "sqlite3.connect":
            yield call, name
        elif name in _EXECUTING and call.args and _is_made(file, call.args[0]):
            yield call, "a made statement"
    for node, name in file.names():
        if name in (".enable_load_extension", ".load_extension", ".deserialize"):
            yield node, name
    for node in file.nodes:
        if re.match(r"\s*(ATTACH|VACUUM\s+INTO)\b", text_of(node) or "", re.IGNORECASE):
            yield node, "ATTACH"


_EXECUTING = (".execute", ".executemany", ".executescript")


def _is_made(file: File, statement: ast.expr) -> bool:
    """Whether it is put together of more than texts, CONSTANTS and rows of question marks."""
    if isinstance(statement, ast.JoinedStr):
        names = {ast.unparse(one.value) for one in statement.values if isinstance(one, ast.FormattedValue)}
        return not all(name.isupper() for name in names - _marks(file))
    made = isinstance(statement, ast.Call) and isinstance(statement.func, ast.Attribute)
    return made or isinstance(statement, ast.BinOp)


def _marks(file: File) -> set[str]:
    """Names that are only ever given `", ".join("?" * count)`."""
    given: dict[str, set[bool]] = {}
    for node in file.nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                are_marks = ast.unparse(node.value).startswith("', '.join('?' * ")
                given.setdefault(ast.unparse(target), set()).add(are_marks)
    return {name for name, all_marks in given.items() if all_marks == {True}}


_DISK = re.compile(
    r"os\.(p?writev?|sendfile|copy_file_range|splice|posix_fallocate|f?truncate|f(data)?sync|sync|renames?|replace"
    r"|link|symlink|unlink|remove(dirs)?|rmdir|mkdir|makedirs|mkfifo|mknod|utime|[fl]?chmod|[fl]?chown|setxattr"
    r"|O_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE))"
    r"|shutil\.(rmtree|move|copy2?|copyfile|copytree|copymode|copystat|chown|make_archive)"
    r"|logging\.(FileHandler|handlers\..*FileHandler)"
    r"|\.(write_text|write_bytes|touch|mkdir|rmdir|unlink|symlink_to|hardlink_to|l?chmod|rename)"
)


@rule
def seam(file: File) -> Found:
    """Whatever changes a disk goes through adapters/fsio.py, where tests can fail or cut short each call."""
    yield from file.imported("tempfile")
    for node, name in file.names():
        if _DISK.fullmatch(name):
            yield node, name
    for call, name in file.calls():
        if name == ".replace" and len(call.args) == 1 and not call.keywords:  # a path's; a text's takes two
            yield call, name
        elif name.rpartition(".")[2] in ("open", "fdopen", "GzipFile") and name != "os.open":
            yield from ((call, f"{name}({mode!r})") for mode in _modes(call, name) if _writes(mode))


def _modes(call: ast.Call, name: str) -> Iterator[str]:
    """How a file is opened; `w?` where only a run can tell."""
    given = argument(call, "mode", 1 if not name.startswith(".") else 0)
    if given is not None and (text := text_of(given)) is not None:
        yield text
    elif given is not None and (name in ("open", "io.open", "os.fdopen") or argument(call, "mode")):
        yield "w?"


def _writes(mode: str) -> bool:
    return bool(re.fullmatch(r"[rwaxbtU+?]+", mode)) and any(letter in mode for letter in "wax+")


def objections(text: str, path: str) -> Iterator[Objection]:
    """What the rules say to a file, whether or not it is allowed there."""
    file = File(text)
    for one in RULES:
        for node, word in one(file):
            yield Objection(path, getattr(node, "lineno", 0), one.__name__, word, one.__doc__ or "")


def main(folder: Path = SOURCE) -> int:
    """Print every objection; 1 if there is any."""
    used, left = set(), list[str]()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        for found in objections(path.read_text(encoding="utf-8"), name):
            top = f"{name.partition('/')[0]}/*"
            keys = [f"{place} {found.rule} {word}" for place in (name, top) for word in (found.word, "*")]
            hits = [key for key in keys if key in ALLOWED]
            used.update(hits)
            if not hits:
                left.append(f"{path}:{found.line}: {found.rule}: {found.word}: {found.sentence}")
    left += [
        f"{Path(__file__).name}: nothing is left of '{key}': take it out"
        for key in ALLOWED
        if key not in used
    ]
    sys.stdout.writelines(f"{line}\n" for line in left)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
