"""ui/options.py: flags come from the table of settings, and layers win in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from g3m.core.errors import SettingsError
from g3m.core.settings import OPTIONS, Settings
from g3m.ui.options import Context, config_files, load_settings, open_context, setting_flags
from g3m.ui.words import Speaker

FLAGGED = [option for option in OPTIONS if option.flag]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, an empty home, no variable of ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (
        "XDG_CONFIG_HOME",
        "XDG_CONFIG_DIRS",
        *(option.variable for option in OPTIONS if option.variable),
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def parse(*arguments: str) -> dict[str, Any]:
    """What a command with all flags of the table is given."""
    given: dict[str, Any] = {}

    @click.command()
    @setting_flags(*(option.name for option in OPTIONS if option.flag))
    def command(**flags: Any) -> None:
        given.update(flags)

    result = CliRunner().invoke(command, list(arguments))
    assert result.exit_code == 0, result.output
    return given


def sample(option: Any) -> tuple[list[str], Any]:
    """Words for a flag and the value that they mean, other than the default."""
    default = option.default
    if isinstance(default, bool):
        return [option.flag], not default
    if option.choices:
        choice = next(c for c in option.choices if c and c != default)
        return [option.flag, choice], choice
    if isinstance(default, tuple):
        return [option.flag, "a", option.flag, "coco=b"], ("a", "coco=b")
    if isinstance(default, (int, float)):
        return [option.flag, "1"], type(default)(1)
    return [option.flag, "x"], "x"


@pytest.mark.parametrize("option", FLAGGED, ids=lambda option: option.name)
def test_a_flag_becomes_its_setting(option: Any) -> None:
    """Each flag alone changes its own setting, says it came from the command line, and leaves the others."""
    words, value = sample(option)
    settings = load_settings(parse(*words))
    assert getattr(settings, option.name) == value
    assert dict(settings.origins) == {option.name: "command line"}


def test_without_flags_the_defaults_hold() -> None:
    """No flag, no variable, no file: what the table says, from nowhere."""
    settings = load_settings(parse())
    assert settings == Settings()
    assert {option.name: getattr(settings, option.name) for option in OPTIONS} == {
        option.name: option.default for option in OPTIONS
    }


@pytest.mark.parametrize("option", [o for o in FLAGGED if o.variable], ids=lambda option: option.name)
def test_a_flag_wins_over_its_variable(option: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable counts where the flag is not given, and not where it is."""
    words, value = sample(option)
    text = (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(option.default, bool) else str(value)
    )
    monkeypatch.setenv(option.variable, text)
    settings = load_settings(parse())
    assert getattr(settings, option.name) == value
    assert settings.origins[option.name] == "environment"
    opposite = {True: "no", False: "yes"}[value] if isinstance(option.default, bool) else text
    monkeypatch.setenv(option.variable, opposite)
    settings = load_settings(parse(*words))
    assert getattr(settings, option.name) == value
    assert settings.origins[option.name] == "command line"


def test_a_zero_on_the_command_line_is_a_value(alone: Path) -> None:
    """`--jobs 0` and `--max-rejected 0` win over a file, although they are nothing much."""
    (alone / "g3m.toml").write_text("jobs = 3\nmax_rejected = 0.5\n", encoding="utf-8")
    settings = load_settings(parse("--jobs", "0", "--max-rejected", "0"))
    assert (settings.jobs, settings.max_rejected) == (0, 0.0)


def test_config_files_the_stronger_first(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """./g3m.toml stands before the user's own; XDG_CONFIG_HOME is obeyed; what is not there is not named."""
    assert config_files() == []
    own = alone / "home" / ".config" / "g3m" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("jobs = 1\nroot = 'of-user'\n", encoding="utf-8")
    assert [path for path, _ in config_files()] == [own]
    (alone / "g3m.toml").write_text("jobs = 2\n", encoding="utf-8")
    assert [path for path, _ in config_files()] == [Path("g3m.toml"), own]
    settings = load_settings({})
    assert (settings.jobs, settings.root) == (2, "of-user")
    assert dict(settings.origins) == {"jobs": "g3m.toml", "root": str(own)}
    monkeypatch.setenv("XDG_CONFIG_HOME", str(alone / "xdg"))
    assert [path for path, _ in config_files()] == [Path("g3m.toml")]


@pytest.mark.parametrize("text", ["jobs = ", "\x00", "jobs = 1\njobs = 2"])
def test_a_config_file_that_is_no_toml(alone: Path, text: str) -> None:
    """The file and what is wrong with it are named."""
    (alone / "g3m.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"g3m\.toml: not a TOML document"):
        load_settings({})


@pytest.mark.parametrize(
    "text", ["jobs = -1", "parity = 'most'", "root = 3", "recipes = 3", "offline = 'perhaps'"]
)
def test_a_config_value_that_cannot_be(alone: Path, text: str) -> None:
    """The file and the key are named."""
    (alone / "g3m.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=rf"g3m\.toml: {text.partition(' ')[0]}: must be"):
        load_settings({})


def test_a_context_has_session_and_language(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root and the language of the flags arrive; opening makes no folder."""
    context = open_context({"root": "data", "lang": "zh"}, json=True)
    assert context.session.store.root == Path("data")
    assert (context.speaker.lang, context.json, context.quiet) == ("zh", True, False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    assert open_context({}).speaker.lang == "zh"
    assert list(alone.iterdir()) == []


@pytest.mark.parametrize(
    ("json", "quiet", "out", "err"),
    [
        (False, False, "x: a good recipe\n", "psst\n"),
        (True, False, "", "psst\n"),
        (False, True, "", ""),
        (True, True, "", ""),
    ],
)
def test_results_and_messages_have_their_streams(
    json: bool, quiet: bool, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results go to stdout unless JSON does; messages go to stderr; -q silences both."""
    session: Any = None
    context = Context(session, Speaker("en"), json, quiet)
    context.say("recipe-good", path="x")
    context.tell("psst")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (out, err)
