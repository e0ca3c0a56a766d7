"""ui/cli.py: every command as a user types it, in processes of its own; its words, streams and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from tests.ui.conftest import LIMIT_S, Command, Desk, Ran, wait_for

from g3m import __version__
from g3m.adapters import session as session_module
from g3m.adapters.disk import Free, Store
from g3m.adapters.recipes import builtin_files
from g3m.core.errors import LANGUAGES, Interrupted, OtherOptions, StorageError, Throttled, all_errors
from g3m.core.retry import Policy
from g3m.core.settings import OPTIONS
from g3m.lab.mischief import Cut, Reset, Status, Trickle
from g3m.ui.cli import cli

HEAVY = (
    "rich",
    "PIL",
    "pycurl",
    "isal",
    "platformdirs",
    "pyarrow",
    "certifi",
    "g3m.lab",
    "g3m.adapters",
    "g3m.steps",
)
GROUPS = ("recipe",)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that lead to it."""
    found: list[tuple[tuple[str, ...], click.Command]] = [(path, group)]
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


COMMANDS = commands(cli)
WITH_JSON = ("list", "info", "plan", "get", "verify", "status", "doctor")


def flat(text: str) -> str:
    return " ".join(text.split())


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) or "g3m" for path, _ in COMMANDS])
def test_help_says_first_what_a_command_does(path: tuple[str, ...], command: click.Command) -> None:
    """The help of every command exits 0, leads with a sentence on what it does, and explains every option."""
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    paragraphs = result.output.split("\n\n")
    assert paragraphs[0].startswith("Usage: ")
    first = flat((command.help or "").split("\n\n")[0])
    assert flat(paragraphs[1]) == first
    assert first.endswith((".", ":", ')"'))
    shown = flat(result.output)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert max(parameter.opts, key=len) in shown
            assert parameter.help
            assert flat(parameter.help) in shown


def test_help_of_get_lists_the_settings_of_the_table() -> None:
    """Every option of the table that has a flag stands in `get --help` with its words and its variable."""
    shown = flat(CliRunner().invoke(cli, ["get", "--help"], terminal_width=200).output)
    flagged = [option for option in OPTIONS if option.flag]
    assert len(flagged) >= 8
    for option in flagged:
        assert option.flag in shown
        assert flat(option.help) in shown
        assert not option.variable or f"[{option.variable}]" in shown
        for choice in filter(None, option.choices):
            assert choice in shown


def test_every_flag_of_a_setting_is_one_of_the_table() -> None:
    """A command offers no setting under a name or a flag that the table does not know."""
    known = {option.name: option.flag for option in OPTIONS}
    own = {
        "json",
        "quiet",
        "dry_run",
        "yes",
        "structure",
        "deep",
        "repair",
        "keep",
        "help",
        "version",
        "watch",
        "kind",
    }
    own |= {"controller", "config", "dataset", "url", "group", "count", "timeout_s", "shell", "off"}  # proxy
    own |= {"host", "port", "token_file"}  # share
    own |= {"to", "shard_size", "max_shard_bytes"}  # pack
    own |= {"check", "force", "pictures"}  # index
    own |= {"factors"}  # export
    own |= {"evaluation", "out"}  # stats
    own |= {"keys", "dataset", "limit", "timeout_s"}  # search, sql
    own |= {"keys", "urls", "reason", "rewrite", "dry_run", "shown"}  # drop
    own |= {"path", "folder", "samples", "is_open"}  # view
    own |= {
        "url_column",
        "caption_column",
        "hash_column",
        "keep_columns",
        "task_rows",
        "retry_failed",
    }  # gather
    for _, command in COMMANDS:
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name not in own:
                assert known[parameter.name or ""] in parameter.opts


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_bare_g3m_shows_examples_and_exit_codes(desk: Desk, arguments: tuple[str, ...]) -> None:
    """Without a command the help is shown, with examples to copy and the exit codes."""
    ran = desk.run(*arguments)
    assert (ran.code, ran.err) == (0, "")
    assert "g3m get coco_valid" in ran.out
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 10, 130, 143):
        assert re.search(rf"\b{code}\b", ran.out.partition("Exit codes:")[2])


def test_commands_stand_in_the_order_of_a_users_way() -> None:
    """The list of commands begins with what a newcomer needs and is not sorted by letters."""
    shown = CliRunner().invoke(cli, ["--help"]).output.partition("Commands:")[2]
    names = re.findall(r"^  (\w+)", shown, re.MULTILINE)[: len(cli.commands)]
    assert names == list(cli.commands)
    assert names[0] == "demo"
    assert names.index("plan") < names.index("get") < names.index("verify")


def test_version(desk: Desk) -> None:
    """`--version` says name and version, and nothing else."""
    assert desk.run("--version") == Ran(0, f"g3m {__version__}\n", "")


# --- importing is silent and cheap ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("get", "--help"),
        ("gather", "--help"),
        ("gather",),
        ("completion", "bash"),
        ("gte",),
        ("get",),
        ("--version",),
    ],
)
def test_help_imports_nothing_heavy(desk: Desk, arguments: tuple[str, ...]) -> None:
    """Help, completion and usage errors load neither the network, nor pictures, nor the drawn world."""
    script = f"""
        import sys
        sys.argv = ["g3m", *{list(arguments)!r}]
        from g3m.ui.cli import main
        try:
            main()
        except SystemExit:
            pass
        heavy = {HEAVY!r}
        print(sorted(m for m in sys.modules if m in heavy or m.startswith(tuple(h + "." for h in heavy))), file=sys.stderr)
    """
    done = _python(desk, script)
    assert done.stderr.splitlines()[-1] == "[]"


def test_importing_g3m_reads_nothing_and_looks_at_no_variable(desk: Desk) -> None:
    """`import g3m` loads one module, opens no file but its own code, asks for no variable, makes no socket."""
    script = """
        import os, sys, typing, __future__
        seen = []
        sys.addaudithook(lambda event, args: seen.append((event, str(args[:1]))) if event in watched else None)
        watched = {"open", "os.listdir", "os.scandir", "os.mkdir", "socket.__new__", "subprocess.Popen", "os.putenv"}
        class Watched(dict):
            def __getitem__(self, key): seen.append(("environ", key)); return super().__getitem__(key)
            def get(self, key, default=None): seen.append(("environ", key)); return super().get(key, default)
            def __contains__(self, key): seen.append(("environ", key)); return super().__contains__(key)
        os.environ = Watched(os.environ)
        before = set(sys.modules)
        import g3m
        watched = set()
        code = ("g3m/__init__.py", "g3m/__pycache__", "/src", ".pyc", "/g3m'")
        foreign = [one for one in seen if one[0] == "environ" or not any(part in one[1] for part in code)]
        print(sorted(set(sys.modules) - before), foreign)
    """
    assert _python(desk, script).stdout == "['g3m'] []\n"


def test_the_names_of_the_package_are_there_and_lazy(desk: Desk) -> None:
    """Each promised name is found at its first use, is listed, and a wrong one is an AttributeError."""
    script = """
        import sys, g3m
        assert set(g3m.__all__) <= set(dir(g3m)), dir(g3m)
        assert "g3m.runners" not in sys.modules
        for name in g3m.__all__:
            assert callable(getattr(g3m, name)), name
        try:
            g3m.download
        except AttributeError as error:
            print(error)
    """
    assert _python(desk, script).stdout == "module 'g3m' has no attribute 'download'\n"


def _python(desk: Desk, script: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=desk.cwd,
        env=desk.environment(more),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=True,
    )


# --- mistakes in the command line -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in cli.commands if len(name) > 3] + ["get"])
def test_did_you_mean_for_a_command(name: str) -> None:
    """Two swapped letters in a command's name are met with that name, and exit 2."""
    typo = name[0] + name[2] + name[1] + name[3:]
    result = CliRunner().invoke(cli, [typo])
    assert result.exit_code == 2
    assert f"no command is called {typo!r}; did you mean {name!r}?" in flat(result.output)


def test_a_word_like_no_command_gets_no_wild_guess() -> None:
    """Where nothing is near, nothing is offered."""
    result = CliRunner().invoke(cli, ["xylophone"])
    assert result.exit_code == 2
    assert "did you mean" not in result.output


@pytest.mark.parametrize("command", ["get", "plan", "info", "cite", "verify"])
def test_did_you_mean_for_a_dataset(desk: Desk, command: str) -> None:
    """A mistyped dataset is met with the nearest name, or with what would make it, and exit 2."""
    ran = desk.run(command, "coco_vald")
    assert ran.code == 2
    assert "G3M-E230" in ran.err
    # What `verify` looks at stands on the disk: there, recipes are no help.
    assert ("did you mean 'coco_valid'?" in ran.err) is (command != "verify")
    assert not desk.root.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("get",),
        ("plan",),
        ("info",),
        ("gte",),
        ("get", "coco", "--rot", "x"),
        ("get", "coco", "--jobs", "many"),
        ("get", "coco", "--parity", "mostly"),
        ("get", "coco", "--lang", "fr"),
        ("get", "coco", "--max-rejected", "x"),
        ("get", "nothing-like-it"),
        ("get", "./absent.toml"),
        ("recipe", "check"),
        ("recipe", "check", "absent.toml"),
        ("recipe", "show", "cocoa"),
        ("recipe", "shwo"),
        ("completion", "tcsh"),
        ("verify", "coco_valid"),
        ("get", "coco_valid", "--from", "/nowhere/at/all", "--yes"),
        ("get", "coco_valid", "--jobs", "-1"),
        ("get", "coco_valid", "--max-rejected", "-2"),
    ],
    ids=" ".join,
)
def test_usage_errors_exit_2(desk: Desk, arguments: tuple[str, ...]) -> None:
    """A mistake in the command line exits 2, says what it is on stderr, and prints nothing on stdout."""
    ran = desk.run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err


@pytest.mark.parametrize(
    ("config", "more", "word"),
    [
        ("rot = 1", {}, "did you mean 'root'?"),
        ("jobs = 'many'", {}, "g3m.toml: jobs"),
        ("this is no toml", {}, "g3m.toml: not a TOML document"),
        ("", {"G3M_LANG": "fr"}, "environment: G3M_LANG"),
        ("", {"G3M_JOBS": "-3"}, "environment: G3M_JOBS"),
        ("recipes = ['/nowhere/at/all']", {}, "/nowhere/at/all"),
        ("[[mirrors]]\nprefix = 'x'", {}, "mirrors[0]"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(
    desk: Desk, config: str, more: dict[str, str], word: str
) -> None:
    """A wrong value in a file or a variable exits 2 and names the file or the variable."""
    (desk.cwd / "g3m.toml").write_text(config, encoding="utf-8")
    ran = desk.run("status", **more)
    assert ran.code == 2
    assert word in ran.err


def test_a_wrong_address_in_the_config_is_shown_without_its_login(desk: Desk) -> None:
    """The message about a mirror that cannot be used does not repeat the password in it."""
    config = "[[mirrors]]\nprefix = 'https://a/'\nplaces = ['ftp://me:CANARY@host/']"
    (desk.cwd / "g3m.toml").write_text(config, encoding="utf-8")
    ran = desk.run("status")
    assert ran.code == 2
    assert "CANARY" not in ran.out + ran.err


# --- languages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (("--lang", "zh"), {}),
        (("--lang=zh",), {"G3M_LANG": "en"}),
        ((), {"G3M_LANG": "zh"}),
        ((), {"LANG": "zh_CN.UTF-8"}),
        ((), {"LC_ALL": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}),
        ((), {"LC_MESSAGES": "zh_CN", "LANG": "C.UTF-8"}),
    ],
)
def test_errors_in_chinese(desk: Desk, arguments: tuple[str, ...], more: dict[str, str]) -> None:
    """By flag, variable or locale an error has its code, what happened, and what to do, in Chinese."""
    ran = desk.run("get", "coco_vald", *arguments, **more)
    assert ran.code == 2
    head, message, hint = ran.err.splitlines()
    assert head == "错误 G3M-E230: 没有这个数据集"
    assert "'coco_vald'" in message
    assert hint == "建议: `g3m list` 会列出全部数据集和分组"


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ((), {}),
        (("--lang", "en"), {"LANG": "zh_CN.UTF-8"}),
        ((), {"G3M_LANG": "en", "LC_ALL": "zh_CN.UTF-8"}),
        ((), {"LC_ALL": "de_DE.UTF-8", "LANG": "zh_CN.UTF-8"}),
    ],
)
def test_errors_in_english(desk: Desk, arguments: tuple[str, ...], more: dict[str, str]) -> None:
    """An error has its code, what happened, and a line that begins with "Try:"."""
    head, message, hint = desk.run("get", "coco_vald", *arguments, **more).err.splitlines()
    assert head == "error G3M-E230: no such dataset"
    assert "'coco_vald'" in message
    assert hint == "Try: `g3m list` shows all datasets and groups"


def test_the_language_of_the_config_file_is_that_of_errors_too(desk: Desk) -> None:
    """`lang = "zh"` in g3m.toml speaks Chinese in results and in errors alike."""
    (desk.cwd / "g3m.toml").write_text('lang = "zh"\n' + desk.world.config(), encoding="utf-8")
    assert "没有正在运行的任务" in desk.run("status").out
    assert desk.run("get", "coco_vald").err.startswith("错误")


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_error_of_the_tree_through_the_entry_point(
    here: Command, monkeypatch: pytest.MonkeyPatch, kind: Any, lang: str
) -> None:
    """Whatever is raised below, the message, the code, the hint and the exit code are that error's own."""

    def fail(*_: Any) -> None:
        raise kind("what happened\nand where")

    monkeypatch.setattr("g3m.ui.report.list_lines", fail)
    monkeypatch.setattr("g3m.ui.report.list_rows", fail)
    ran = here("list", "--lang", lang)
    column = LANGUAGES.index(lang)
    assert (ran.code, ran.out) == (kind.exit_code, "")
    if not issubclass(kind, Interrupted):  # who pressed Ctrl-C knows, and the end of the time was told
        head, *middle, hint = ran.err.splitlines()
        assert head.endswith(f"{kind.code}: {kind.title[column]}")
        assert middle == ["  what happened", "  and where"]
        assert hint == ("Try: ", "建议: ")[column] + kind.default_hint[column]
    (body,) = here("list", "--json", "--lang", lang).documents
    assert body["schema"] == 1
    assert body["error"] == {
        "code": kind.code,
        "message": "what happened\nand where",
        "hint": kind.default_hint[0],  # JSON is for programs: it stays English
        "exit_code": kind.exit_code,
    }


def test_control_characters_of_strangers_do_not_reach_the_terminal(desk: Desk) -> None:
    """A name with escape codes in it is shown with question marks, and as plain ASCII in JSON."""
    ran = desk.run("get", "co\x1b]0;owned\x07co\u202e", "--json")
    assert ran.code == 2
    assert "\x1b" not in ran.err + ran.out
    assert "\x07" not in ran.err + ran.out
    assert ran.out.isascii()


@pytest.mark.parametrize("command", ["info", "plan", "get", "get --dry-run", "recipe check"])
def test_a_recipe_of_a_strangers_does_not_steer_the_terminal(desk: Desk, command: str) -> None:
    """Escape codes in a title, a licence or terms are shown as question marks, on a terminal above all."""
    evil = "\\u001b]0;owned\\u0007 \\u009b2J \\u202e"
    (desk.cwd / "evil.toml").write_text(
        f"""
        format = 1
        name = "evil"
        title = "x{evil}"
        folder = "e/e"
        homepage = "x{evil}"
        licence = "x{evil}"
        terms = "x{evil}"
        citation = "x{evil}"
        [[assets]]
        name = "a.zip"
        size_bytes = 1
        places = ["https://nowhere.invalid/{evil}"]
        [samples]
        reader = "pairs"
        [expect]
        samples = 1
        source = "x{evil}"
        """,
        encoding="utf-8",
    )
    more = ("--offline", "--yes") if command == "get" else ()
    ran = desk.run(*command.split(), "evil.toml", *more)
    assert ran.code in (0, 2, 5)
    shown = ran.out + ran.err
    assert not set("\x1b\x07\x9b\u202e") & set(shown), shown


# --- exit codes -----------------------------------------------------------------------------------------------------


def test_exit_0_and_running_again_changes_nothing(done_desk: Desk) -> None:
    """A finished command exits 0; the same again exits 0, asks for nothing and touches no file."""
    before = done_desk.files()
    ran = done_desk.run("get", "all")
    assert ran.code == 0
    assert done_desk.files() == before
    assert done_desk.world.origin.requests == []
    assert ran.err == ""


def test_exit_1_when_another_run_is_at_work(done_desk: Desk) -> None:
    """A root in use exits 1 and names the process."""
    (done_desk.root / "coco" / "coco_valid" / "manifest.json").unlink()
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "token": "x"}
    (done_desk.root / ".g3m" / "lock").write_text(json.dumps(holder), encoding="utf-8")
    ran = done_desk.run("get", "coco_valid")
    assert ran.code == 1
    assert "G3M-E630" in ran.err
    assert f"process {os.getpid()} on {socket.gethostname()}" in ran.err


def test_exit_2_when_the_dataset_stands_here_with_other_options(done_desk: Desk) -> None:
    """Published shards are never remade with other options: that is said, with exit 2."""
    before = done_desk.files()
    ran = done_desk.run("get", "coco_valid", "--parity", "nxtp")
    assert ran.code == 2
    assert "G3M-E640" in ran.err
    assert "'none'" in ran.err
    assert "'nxtp'" in ran.err
    assert done_desk.files() == before
    assert OtherOptions.exit_code == 2


def _flawed(desk: Desk) -> Path:
    """A folder of pairs of which one in four has no caption, and a recipe for it."""
    folder = desk.cwd / "mine"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0 drawn \xff\xd9")
        if number:
            (folder / f"{number}.txt").write_text(f"caption {number}", encoding="utf-8")
    recipe = desk.cwd / "my.toml"
    recipe.write_text(
        """
        format = 1
        name = "my"
        title = "mine"
        folder = "my/my"
        licence = "mine"
        [[assets]]
        name = "mine.zip"
        places = ["https://nowhere.invalid/mine.zip"]
        [samples]
        reader = "pairs"
        images = "mine.zip"
        """,
        encoding="utf-8",
    )
    return recipe


def test_exit_3_when_too_many_samples_are_rejected(desk: Desk) -> None:
    """More losses than the recipe allows exits 3 with the reasons; --max-rejected lets them pass and lists them."""
    recipe = str(_flawed(desk))
    ran = desk.run("get", recipe, "--from", "mine", "--offline")
    assert ran.code == 3
    assert "G3M-E300" in ran.err
    assert "1 of 4 samples are unusable (1 no_caption)" in ran.err
    assert not list(desk.root.rglob("*.tar"))
    ran = desk.run("get", recipe, "--from", "mine", "--offline", "--max-rejected", "0.25")
    assert ran.code == 0
    assert "left out: 1 no_caption (see" in ran.out
    assert (desk.root / "my" / "my" / "rejected.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_exit_3_when_only_some_is_done(desk: Desk) -> None:
    """Several things failing in several ways exits 3 with every reason, and what went well is published."""
    desk.world.origin.mischief("*/train2017.zip", Status(404), times=None)
    ran = desk.run("get", "coco", "coco_valid", "sbu", "--yes", KAGGLE_KEY="")
    assert ran.code == 3
    assert "G3M-E310" in ran.err
    assert "train2017.zip: " in ran.err
    assert "sbucaptions.zip: " in ran.err
    assert (desk.root / "coco" / "coco_valid" / "manifest.json").is_file()
    assert not (desk.root / "sbu").exists()


def test_exit_4_when_kaggle_wants_an_account(desk: Desk) -> None:
    """A host that wants credentials exits 4; with them the same command succeeds."""
    ran = desk.run("get", "sbu", "--yes", KAGGLE_KEY="")
    assert ran.code == 4
    assert "G3M-E400" in ran.err
    assert "Try: " in ran.err
    assert desk.run("get", "sbu").code == 0


def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that wait for nothing longer than a moment."""
    opened = session_module.open_session

    def quick(*arguments: Any, **more: Any) -> Any:
        policy = Policy(empty_attempts=2, first_wait_s=0.01, longest_wait_s=0.01, throttled_attempts=2)
        return replace(opened(*arguments, **more), policy=policy)

    monkeypatch.setattr(session_module, "open_session", quick)


def test_exit_5_when_no_host_answers(desk: Desk, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead hosts exit 5 with what each said, and nothing is lost for the next run."""
    _impatient(monkeypatch)
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        port = dead.getsockname()[1]
        text = desk.world.config().replace(f":{desk.world.origin.url.rpartition(':')[2]}", f":{port}")
        (desk.cwd / "g3m.toml").write_text(text, encoding="utf-8")
        ran = here("get", "coco_valid", "--yes")
    assert ran.code == 5
    assert "G3M-E510" in ran.err
    assert f"127.0.0.1:{port}" in ran.err
    assert not list(desk.root.rglob("*.tar"))


@pytest.mark.parametrize("arguments", [("coco_valid",), ("cc3m",)])
def test_exit_5_when_offline_forbids_what_is_needed(desk: Desk, arguments: tuple[str, ...]) -> None:
    """--offline asks nobody: what is not here is an error of the network, at once."""
    ran = desk.run("get", *arguments, "--offline", "--yes")
    assert ran.code == 5
    assert "--offline" in ran.err
    assert desk.world.origin.requests == []


def test_exit_5_when_the_host_is_busy_for_good(
    desk: Desk, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that only says 503 exits 5."""
    _impatient(monkeypatch)
    desk.world.origin.mischief("*.zip", Status(503), times=None)
    ran = here("get", "coco_valid", "--yes")
    assert ran.code == Throttled.exit_code == 5


@pytest.mark.parametrize(
    ("free", "word"), [(Free(1000, None), "1000 bytes are free"), (Free(10**12, 3), "3 inodes")]
)
def test_exit_6_before_the_first_byte_when_the_disk_is_too_small(
    desk: Desk, here: Command, monkeypatch: pytest.MonkeyPatch, free: Free, word: str
) -> None:
    """Too few bytes or inodes exits 6 before anything is fetched, and says how much is missing."""
    monkeypatch.setattr(Store, "free", lambda _: free)
    ran = here("get", "coco_valid", "--yes")
    assert ran.code == 6
    assert "G3M-E610" in ran.err
    assert word in ran.err
    assert not [request for request in desk.world.origin.requests if request.path.endswith(".zip")]


def test_exit_6_when_the_root_cannot_be_made(desk: Desk) -> None:
    """A root below a file exits 6 and names the path."""
    (desk.cwd / "file").write_text("", encoding="utf-8")
    ran = desk.run("get", "coco_valid", "--yes", "--root", "file/data")
    assert ran.code == 6
    assert "file/data" in ran.err


@pytest.mark.parametrize("arguments", [(), ("coco_valid",), ("--deep",), ("--json",)])
def test_exit_7_when_a_shard_is_not_as_it_was(done_desk: Desk, arguments: tuple[str, ...]) -> None:
    """One wrong byte exits 7 and names dataset, shard and what is wrong; the others are said to be good."""
    shard = done_desk.root / "coco" / "coco_valid" / "00000.tar"
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.write_bytes(data)
    ran = done_desk.run("verify", *arguments)
    assert ran.code == 7
    assert "G3M-E740" in ran.err
    assert "coco_valid/00000.tar: digest" in ran.err
    if "--json" in arguments:
        *_, first, last = ran.documents
        assert first["ok"] is False
        assert [(f["dataset"], f["shard"], f["problem"]) for f in first["findings"]] == [
            ("coco_valid", "00000.tar", "digest")
        ]
        assert last["error"]["exit_code"] == 7
    elif not arguments:
        assert len(re.findall("agrees? with the manifest", ran.out)) == 5


def test_verify_repairs_and_says_so(done_desk: Desk) -> None:
    """--repair makes the broken shard again, byte for byte, and exits 0; the others are not touched."""
    shard = done_desk.root / "coco" / "coco_valid" / "00000.tar"
    good = shard.read_bytes()
    shard.write_bytes(good[:700])
    before = {name: state for name, state in done_desk.files().items() if name.endswith(".tar")}
    ran = done_desk.run("verify", "--repair")
    assert ran.code == 0
    assert "coco_valid/00000.tar: made again (size)" in ran.out
    assert shard.read_bytes() == good
    after = {name: state for name, state in done_desk.files().items() if name.endswith(".tar")}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"g3m-data/coco/coco_valid/00000.tar"}
    assert done_desk.run("verify", "--deep").code == 0


def _until_bytes_flow(process: subprocess.Popen[str]) -> str:
    """Wait until the first file is on its way; what was on stderr by then."""
    assert process.stderr is not None
    text = ""
    for line in process.stderr:
        text += line
        if ": from " in line:
            break
    return text


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_a_signal_stops_a_run_and_the_next_one_goes_on(desk: Desk, number: signal.Signals, code: int) -> None:
    """A signal ends the run with its own code and the line that continues; no byte is fetched twice."""
    size = desk.world.sources.coco.valid.stat().st_size
    desk.world.origin.mischief("*/val2017.zip", Trickle(size / 20))
    with desk.start("get", "coco_valid", "--yes") as process:
        _until_bytes_flow(process)
        part = wait_for(
            lambda: [
                p for p in desk.root.glob(".g3m/parts/*-val2017.zip.part") if p.stat().st_size > size // 50
            ],
            "bytes",
        )
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == code
    assert "Nothing is lost. Continue with:\n  g3m get coco_valid --yes\n" in err
    assert "Traceback" not in err
    assert out == ""
    assert not (desk.root / ".g3m" / "lock").exists()
    kept = part[0].stat().st_size
    assert kept
    desk.world.origin.forget_requests()
    ran = desk.run("get", "coco_valid", "--yes")
    assert ran.code == 0
    assert f"from byte {kept}" in ran.err
    first, *_ = [r for r in desk.world.origin.requests if r.path.endswith("/val2017.zip")]
    assert first.headers["range"] == f"bytes={kept}-{size - 1}"
    assert first.sent_bytes == size - kept


def test_a_folder_that_cannot_be_looked_at_is_named(desk: Desk) -> None:
    """Whatever the system refuses about a file, also where nobody thought of it, is said in words with the file."""
    script = """
        import os, sys
        sys.argv = ["g3m", "list"]
        import g3m.ui.report
        def refuse(*_, **__):
            raise OSError(24, os.strerror(24), "/data/g3m/coco")
        g3m.ui.report.list_lines = refuse
        from g3m.ui.cli import main
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=desk.cwd,
        env=desk.environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == StorageError.exit_code, done.stderr
    assert "/data/g3m/coco: Too many open files" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_signal_ends_at_once(desk: Desk) -> None:
    """Who presses Ctrl-C twice does not wait, not even for a step that does not look."""
    script = f"""
        import sys, time
        sys.argv = ["g3m", "get", "coco_valid", "--yes"]
        import g3m.runners.run
        def deaf(*_):
            print("deaf", flush=True)
            end = time.monotonic() + {LIMIT_S}
            while time.monotonic() < end:
                time.sleep(0.05)
        g3m.runners.run.get_in = deaf
        from g3m.ui.cli import main
        main()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=desk.cwd,
        env=desk.environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "deaf\n"
        process.send_signal(signal.SIGTERM)
        for line in process.stderr:
            if "Stopping" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=LIMIT_S / 2) == 130


def test_a_stop_under_json_says_the_exit_code_that_it_has(desk: Desk) -> None:
    """The error on stdout names the very code with which the process ends."""
    desk.world.origin.mischief("*/val2017.zip", Trickle(8_000))
    with desk.start("get", "coco_valid", "--yes", "--json") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"RouteChosen"' in line:
                break
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=LIMIT_S)
    last = json.loads(out.splitlines()[-1])
    assert last["error"]["code"] == "G3M-E130"
    assert process.returncode == 143
    assert last["error"]["exit_code"] == 143


def test_who_stops_reading_stops_the_run(desk: Desk) -> None:
    """`g3m get --json | head -1` ends soon, without a traceback, and does not fetch the rest in silence."""
    size = desk.world.sources.coco.valid.stat().st_size
    desk.world.origin.mischief("*/val2017.zip", Trickle(size / 20))
    with desk.start("get", "coco_valid", "--yes", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=LIMIT_S)
        assert "Traceback" not in process.stderr.read()
    assert process.returncode not in (0, None)


@pytest.mark.parametrize("arguments", [("list",), ("info", "all"), ("recipe", "show", "coco"), ("--help",)])
def test_a_closed_pipe_is_no_traceback(desk: Desk, arguments: tuple[str, ...]) -> None:
    """`g3m list | true` says nothing on stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            desk.arguments(*arguments),
            cwd=desk.cwd,
            env=desk.environment({}),
            stdout=writing,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=LIMIT_S,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode != 0


# --- get ------------------------------------------------------------------------------------------------------------


def test_get_json_prints_one_document_a_line(finished: tuple[Path, Ran]) -> None:
    """Every line parses; events carry schema, name and time; at the end stands a summary of every dataset."""
    _, ran = finished
    assert ran.code == 0
    assert ran.out.isascii()
    lines = ran.documents
    summaries = [line for line in lines if "dataset" in line and "event" not in line]
    events = lines[: -len(summaries)]
    assert all(line["schema"] == 1 for line in lines)
    for line in events:
        assert isinstance(line["event"], str)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line["time"])
    assert events[0]["event"] == "RunStarted"
    assert events[-1]["event"] == "RunFinished"
    assert [line["dataset"] for line in summaries] == list(events[0]["datasets"])
    for line in summaries:
        folder = finished[0] / line["folder"]
        assert len(list(folder.glob("*.tar"))) == line["shards"]
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["samples"] == line["samples"]
    started = sum(line["event"] == "TaskStarted" for line in events)
    ended = [line for line in events if line["event"] == "TaskFinished"]
    assert started == len(ended) == events[-1]["finished"]
    assert sum(line["samples"] for line in ended if line["kind"] == "publish") == events[-1]["samples"]


def test_the_log_and_the_json_lines_tell_the_same(finished: tuple[Path, Ran]) -> None:
    """events.jsonl beside the data holds the very facts that --json printed; of ticks it has fewer."""
    cwd, ran = finished
    kept = (cwd / "g3m-data" / ".g3m" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    shown = [line for line in ran.documents if "event" in line]
    assert _facts(map(json.loads, kept)) == _facts(shown)


def _facts(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_timeless(line) for line in lines if line["event"] not in ("Progressed", "RoutesMeasured")]


def _timeless(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "time"}


def test_quiet_prints_nothing(desk: Desk, done_desk: Desk) -> None:
    """-q prints nothing on either stream, work or no work; only the terms are shown, the first time."""
    ran = desk.run("get", "coco_valid", "-q")
    assert ran == Ran(0, "", "")
    (desk.root / "coco" / "coco_valid" / "00000.tar").unlink()
    assert desk.run("get", "coco_valid", "-q") == Ran(0, "", "")
    assert (desk.root / "coco" / "coco_valid" / "00000.tar").is_file()
    assert desk.run("verify", "-q") == Ran(0, "", "")


def test_quiet_first_run_shows_the_terms_and_nothing_else(desk: Desk) -> None:
    """The terms cannot be silenced; beside them -q prints nothing."""
    ran = desk.run("get", "coco_valid", "-q")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("Terms of coco_valid")
    assert ran.err.endswith("use the data within them.\n")


def test_quiet_does_not_hide_an_error(desk: Desk) -> None:
    """A failing command says why, -q or not."""
    ran = desk.run("get", "coco_valid", "-q", "--offline")
    assert (ran.code, ran.out) == (5, "")
    assert "G3M-E510" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "all", "--dry-run"),
        ("get", "all", "--dry-run", "--json"),
        ("plan", "all"),
        ("plan", "all", "--json"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("is_root_there", [False, True])
def test_a_dry_run_writes_nothing_and_fetches_nothing(
    desk: Desk, arguments: tuple[str, ...], is_root_there: bool
) -> None:
    """Neither folder nor file is made, below an existing root neither, and the hub's listing alone is asked for."""
    if is_root_there:
        desk.root.mkdir()
    before = desk.files()
    ran = desk.run(*arguments)
    assert (ran.code, ran.err) == (0, "")
    assert "coco_valid" in ran.out
    assert {request.path.split("/")[1] for request in desk.world.origin.requests} == {"api"}
    assert all("/tree/" in request.path for request in desk.world.origin.requests)
    assert desk.files() == before


def test_a_plan_below_a_closed_root_is_still_shown(desk: Desk) -> None:
    """Asking what it costs needs no right to write: somebody else's folder, or a full disk."""
    ran = desk.run("plan", "cc3m", "--root", "/proc")
    assert ran.code == 0
    assert "cc3m" in ran.out


def test_an_unknown_listing_is_an_estimate_in_a_plan(desk: Desk) -> None:
    """Where the hub cannot be asked, the plan shows the recipe's figures with a mark, and says why on stderr."""
    desk.world.origin.mischief("/api/datasets/*", Status(404), times=None)
    ran = desk.run("plan", "cc3m", "coco_valid")
    assert ran.code == 0
    assert "~ means: the recipe's figure" in ran.out
    assert ran.err.startswith("cc3m: the hub's listing cannot be asked for")
    body = desk.run("plan", "cc3m", "--json").documents[0]
    assert body["plan"]["datasets"][0]["estimated"] is True


def test_get_tells_what_it_did_and_where(desk: Desk) -> None:
    """The result on stdout: samples, shards, size and folder; how it went is on stderr, dated."""
    ran = desk.run("get", "coco_valid", "--yes", "--root", "elsewhere")
    assert re.fullmatch(r"coco_valid: 8 samples.* in elsewhere/coco/coco_valid\n", ran.out)
    dated = [line for line in ran.err.splitlines() if re.match(r"\d{4}-\d\d-\d\dT", line)]
    assert " start coco_valid: " in dated[0]
    assert " end: 5 tasks done, 0 failed, 8 samples" in dated[-1]
    assert not desk.root.exists()


def test_settings_by_their_order_of_strength(desk: Desk) -> None:
    """A flag wins over a variable, that over ./g3m.toml, that over the user's file."""
    home = Path(desk.variables["HOME"]) / ".config" / "g3m"
    home.mkdir(parents=True)
    (home / "config.toml").write_text('root = "of-user"\nlang = "zh"\n', encoding="utf-8")
    assert json.loads(desk.run("status", "--json").out)["root"] == "of-user"
    (desk.cwd / "g3m.toml").write_text('root = "of-folder"\n' + desk.world.config(), encoding="utf-8")
    assert json.loads(desk.run("status", "--json").out)["root"] == "of-folder"
    assert json.loads(desk.run("status", "--json", G3M_ROOT="of-variable").out)["root"] == "of-variable"
    ran = desk.run("status", "--json", "--root", "of-flag", G3M_ROOT="of-variable")
    assert json.loads(ran.out)["root"] == "of-flag"


# --- what stands here -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (("list",), {"datasets", "groups"}),
        (("info", "all"), {"datasets"}),
        (("plan", "all"), {"plan"}),
        (("status",), {"root", "run", "routes", "datasets", "downloads", "last_line"}),
        (
            ("doctor",),
            {"g3m", "python", "packages", "root", "tokens", "proxies", "settings", "warnings", "run"},
        ),
        (("verify",), {"ok", "datasets", "findings", "repaired"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_json_of_every_looking_command(
    desk: Desk, request: pytest.FixtureRequest, arguments: tuple[str, ...], keys: set[str], done: bool
) -> None:
    """A document in ASCII with schema 1 and its promised keys; stderr is silent; Chinese changes nothing."""
    if done:
        request.getfixturevalue("done_desk")
    ran = desk.run(*arguments, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.isascii()
    *events, body = ran.documents
    assert all(line["schema"] == 1 for line in ran.documents)
    assert bool(events) is (arguments == ("verify",))
    assert keys <= set(body)
    *_, chinese = desk.run(*arguments, "--json", "--lang", "zh").documents
    changing = {"free_bytes", "free_inodes", "home_free_bytes", "settings", "network"}
    assert {k: v for k, v in chinese.items() if k not in changing} == {
        k: v for k, v in body.items() if k not in changing
    }


def test_list_and_status_know_done_begun_and_absent(done_desk: Desk) -> None:
    """A dataset is done, begun or absent, by what lies on the disk."""
    (done_desk.root / "coco" / "coco_valid" / "manifest.json").unlink()
    for name in ("sbu",):
        for path in sorted((done_desk.root / ".g3m" / "receipts" / name).iterdir()):
            path.unlink()
        (done_desk.root / ".g3m" / "receipts" / name).rmdir()
        (done_desk.root / "sbu" / "sbu" / "manifest.json").unlink()
    rows = {row["name"]: row for row in done_desk.run("list", "--json").documents[0]["datasets"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "cc3m": "done",
        "cc3m_valid": "done",
        "coco": "done",
        "coco_valid": "part",
        "laion115m": "none",
        "openimages_v7_valid": "done",
        "sbu": "none",
    }
    assert rows["coco"]["samples"] == 8
    body = done_desk.run("status", "--json").documents[0]
    states = {row["name"]: (row["state"], row["shards"], row["planned_shards"]) for row in body["datasets"]}
    assert states["coco_valid"] == ("part", 1, 1)
    assert states["cc3m"] == ("done", 2, 2)
    assert "sbu" not in states


def test_status_names_the_run_at_work_and_a_second_run_is_refused(desk: Desk) -> None:
    """While a run is at work its process is named, and so it is to a second run; afterwards it is not."""
    size = desk.world.sources.coco.valid.stat().st_size
    desk.world.origin.mischief("*/val2017.zip", Trickle(size / 60))
    with desk.start("get", "coco_valid", "--yes") as process:
        _until_bytes_flow(process)
        parts = desk.root / ".g3m" / "parts"
        wait_for(
            lambda: [p.name.partition("-")[2] for p in parts.glob("*.part")] == ["val2017.zip.part"], "a part"
        )
        body = desk.run("status", "--json").documents[0]
        assert body["run"]["pid"] == process.pid
        assert body["run"]["host"] == socket.gethostname()
        assert set(body["downloads"]) == {"val2017.zip"}
        assert "127.0.0.1" in body["last_line"] or "done" in body["last_line"]
        text = desk.run("status").out
        assert f"A run is at work: process {process.pid} on {socket.gethostname()}." in text
        assert json.loads(desk.run("doctor", "--json").out)["run"]["pid"] == process.pid
        second = desk.run("get", "coco_valid")
        assert second.code == 1
        assert f"held by process {process.pid} on {socket.gethostname()}" in second.err
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    assert desk.run("status", "--json").documents[0]["run"] is None
    assert "No run is at work" in desk.run("status").out


def test_a_killed_run_leaves_no_lock_that_matters(desk: Desk) -> None:
    """After `kill -9` the lock lies there, but nobody is said to work, and the next run goes on."""
    desk.world.origin.mischief("*/val2017.zip", Trickle(desk.world.sources.coco.valid.stat().st_size / 30))
    with desk.start("get", "coco_valid", "--yes") as process:
        _until_bytes_flow(process)
        process.kill()
        process.communicate()
    assert (desk.root / ".g3m" / "lock").is_file()
    assert desk.run("status", "--json").documents[0]["run"] is None
    assert desk.run("get", "coco_valid").code == 0


@pytest.mark.parametrize("kind", [Cut, Reset])
def test_a_broken_connection_is_told_in_the_log_and_survived(desk: Desk, kind: Any) -> None:
    """The line breaks once in the middle: exit 0, and the dated lines say that it went on."""
    size = desk.world.sources.coco.valid.stat().st_size
    desk.world.origin.mischief("*/val2017.zip", kind(size // 2))
    ran = desk.run("get", "coco_valid", "--yes")
    assert ran.code == 0
    assert "; going on\n" in ran.err
    assert re.search(r"val2017\.zip: .*127\.0\.0\.1", ran.err)


def test_looking_at_an_empty_place(desk: Desk) -> None:
    """Where nothing is, looking commands say so, make nothing, and exit 0."""
    before = desk.files()
    assert desk.run("status").out == "No run is at work on g3m-data.\n"
    assert desk.run("verify").out == "No dataset is under g3m-data.\n"
    assert desk.run("cite") == Ran(0, "", "")
    assert desk.files() == before


def test_verify_does_not_take_a_damaged_manifest_for_an_empty_place(done_desk: Desk) -> None:
    """A manifest that cannot be read is damage: it is named, and the exit code is not 0."""
    (done_desk.root / "coco" / "coco_valid" / "manifest.json").write_text("{", encoding="utf-8")
    ran = done_desk.run("verify")
    assert ran.code == 7
    assert "coco_valid" in ran.err


# --- cite, recipes, completion --------------------------------------------------------------------------------------

ENTRIES = {
    "cc3m": {"sharma2018conceptual"},
    "cc3m_valid": {"sharma2018conceptual"},
    "coco": {"lin2014microsoft", "chen2015microsoft"},
    "coco_valid": {"lin2014microsoft", "chen2015microsoft"},
    "openimages_v7_valid": {"kuznetsova2020open", "ponttuset2020connecting"},
    "sbu": {"ordonez2011im2text"},
}


def _entries(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE)


@pytest.mark.parametrize(
    "there", [{"coco"}, {"coco", "coco_valid"}, {"cc3m", "sbu"}, set(ENTRIES)], ids=sorted
)
def test_cite_prints_what_stands_here_each_once(done_desk: Desk, there: set[str]) -> None:
    """BibTeX of exactly the sets on the disk; what two sets share stands there once."""
    for path in done_desk.root.glob("*/*/manifest.json"):
        if json.loads(path.read_text(encoding="utf-8"))["dataset"] not in there:
            path.unlink()
    ran = done_desk.run("cite")
    assert (ran.code, ran.err) == (0, "")
    found = _entries(ran.out)
    assert len(found) == len(set(found))
    assert set(found) == set().union(*(ENTRIES[name] for name in there))
    assert ran.out.count("{") == ran.out.count("}")


def test_cite_by_name(desk: Desk) -> None:
    """Named sets and groups are cited whether they are here or not, a set named twice once."""
    assert set(_entries(desk.run("cite", "sbu").out)) == ENTRIES["sbu"]
    found = _entries(desk.run("cite", "g3m", "coco", "coco_valid").out)
    assert sorted(found) == sorted(ENTRIES["cc3m"] | ENTRIES["sbu"] | ENTRIES["coco"])


def test_cite_does_not_pass_over_a_dataset_of_a_recipe_file(desk: Desk) -> None:
    """A set made from a recipe file of the user's own is on the disk, too: at least it is named."""
    recipe = str(_flawed(desk))
    assert desk.run("get", recipe, "--from", "mine", "--offline", "--max-rejected", "1").code == 0
    ran = desk.run("cite")
    assert ran.code == 0
    assert "my" in (ran.out + ran.err)


@pytest.mark.parametrize(
    "path", [p for p in builtin_files() if p.stem != "groups"], ids=lambda path: path.stem
)
def test_a_shown_recipe_is_a_good_one(tmp_path: Path, path: Path) -> None:
    """`recipe show NAME > mine.toml; recipe check mine.toml` holds for every built-in recipe, byte for byte."""
    shown = CliRunner().invoke(cli, ["recipe", "show", path.stem])
    assert shown.exit_code == 0
    assert shown.output == path.read_text(encoding="utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(shown.output, encoding="utf-8")
    checked = CliRunner().invoke(cli, ["recipe", "check", str(mine)])
    assert (checked.exit_code, checked.output) == (0, f"{mine}: a good recipe\n")


def test_a_recipe_goes_through_a_pipe(desk: Desk) -> None:
    """`g3m recipe show coco | g3m recipe check /dev/stdin` works in a shell."""
    shown = desk.run("recipe", "show", "coco")
    assert desk.run("recipe", "check", "/dev/stdin", text=shown.out) == Ran(
        0, "/dev/stdin: a good recipe\n", ""
    )


def test_recipe_check_lists_every_problem_with_its_key(desk: Desk) -> None:
    """All problems of all files at once, each with file and key; good files are called good."""
    (desk.cwd / "bad.toml").write_text(
        """
        format = 2
        name = "Not A Name"
        folder = "../out"
        licence = ""
        tittle = "x"
        [[assets]]
        name = "a.zip"
        size_bytes = -1
        digests = ["sha256:12"]
        places = ["http://host/a.zip", "ftp://host/a.zip"]
        [samples]
        reader = "pears"
        images = "b.zip"
        [expect]
        samples = 3
        rejected_fraction = 2
        """,
        encoding="utf-8",
    )
    (desk.cwd / "worse.toml").write_text("= 1", encoding="utf-8")
    good = desk.run("recipe", "show", "coco")
    (desk.cwd / "good.toml").write_text(good.out, encoding="utf-8")
    ran = desk.run("recipe", "check", "bad.toml", "good.toml", "worse.toml")
    assert (ran.code, ran.out) == (2, "good.toml: a good recipe\n")
    assert "Try: docs/guides/recipes.md" in ran.err
    for key in (
        "format",
        "name",
        "title",
        "folder",
        "licence",
        "tittle",
        "assets[0].size_bytes",
        "assets[0].digests",
        "assets[0].places",
        "samples.reader",
        "samples.images",
        "expect.source",
        "expect.rejected_fraction",
    ):
        assert f"bad.toml: {key}: " in ran.err, key
    assert "did you mean 'title'?" in ran.err
    assert "did you mean 'pairs'?" in ran.err
    assert "worse.toml: not a TOML document" in ran.err
    assert "good.toml: " not in ran.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(desk: Desk, shell: str) -> None:
    """Each shell gets a script that names g3m's own variable; bash accepts its own."""
    ran = desk.run("completion", shell)
    assert ran.code == 0
    assert "_G3M_COMPLETE" in ran.out
    assert f"{shell}_complete" in ran.out
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=ran.out, encoding="utf-8", check=True, timeout=LIMIT_S)


def test_completion_completes_commands(desk: Desk) -> None:
    """What the script asks for is answered: the commands that begin so."""
    environment = {"_G3M_COMPLETE": "bash_complete", "COMP_WORDS": "g3m ver", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['g3m']; from g3m.ui.cli import main; main()"],
        cwd=desk.cwd,
        env=desk.environment(environment),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stdout.split() == ["plain,verify"]
