"""core/settings.py: each option said once, layers in order, and mistakes named with layer and key."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.errors import SettingsError
from g3m.core.routes import Endpoints, Mirror
from g3m.core.settings import OPTIONS, Layer, Settings, from_variables, merge

BY_NAME = {option.name: option for option in OPTIONS}
# Two values for each option, each in the form that the config file and in the form that a variable or flag has.
VALUES: dict[str, list[tuple[Any, Any]]] = {
    "root": [("/a", "/a"), ("b", "b")],
    "source": [(("x.zip", "y"), ["x.zip", "y"]), (("z",), "z")],
    "parity": [("nxtp", "nxtp"), ("none", "none")],
    "jobs": [(3, 3), (7, "7")],
    "keep_assets": [(True, True), (False, "no")],
    "catalog": [(True, True), (False, "no")],
    "max_rejected": [(0.25, 0.25), (0.5, "0.5")],
    "stream": [(True, "yes"), (False, False)],
    "policy": [(("cmyk=fix",), ["cmyk=fix"]), (("bomb=reject",), "bomb=reject")],
    "image_size": [(512, 512), (64, "64")],
    "resize": [("border", "border"), ("center_crop", "center_crop")],
    "only_if_bigger": [(True, True), (False, "no")],
    "quality": [(80, 80), (1, "1")],
    "form": [("urls", "urls"), ("", "")],
    "requests": [(64, 64), (2048, "2048")],
    "per_host": [(4, 4), (1, "1")],
    "url_timeout_s": [(5.0, 5), (0.5, "0.5")],
    "max_url_bytes": [("8MiB", "8MiB"), ("1000", "1000")],
    "allow_private": [(True, True), (False, "no")],
    "ignore_robots_txt": [(True, True), (False, "no")],
    "hash_mismatch": [("keep", "keep"), ("reject", "reject")],
    "min_side": [(64, 64), (8, "8")],
    "max_aspect": [(3.0, 3), (2.5, "2.5")],
    "runner": [("ray", "ray"), ("local", "local")],
    "address": [("auto", "auto"), ("head:6379", "head:6379")],
    "part": [("0/16", "0/16"), ("3/4", "3/4")],
    "offline": [(True, "1"), (False, False)],
    "lang": [("zh", "zh"), ("en", "en")],
    "stall_timeout_s": [(5.0, 5), (7.5, "7.5")],
    "proxy": [(("http://p:1",), ["http://p:1"]), (("socks5h://q:2",), "socks5h://q:2")],
    "no_proxy": [(True, True), (False, "no")],
    "route": [(("direct",), "direct"), (("proxy", "host"), ["proxy", "host"])],
    "peer": [(("http://box:1/t/",), ["http://box:1/t/"]), (("http://b:2/t/",), "http://b:2/t/")],
    "trust_peers": [(True, True), (False, "no")],
    "connections": [(4, 4), (32, "32")],
    "bwlimit": [("8M", "8M"), ("08:00,1M 23:00,off", "08:00,1M 23:00,off")],
    "max_time": [("90m", "90m"), ("11h30m", "11h30m")],
    "recipes": [(("a",), ["a"]), (("b", "c"), ("b", "c"))],
    "hub_endpoint": [("https://m", "https://m"), ("http://127.0.0.1:9", "http://127.0.0.1:9")],
    "kaggle_endpoint": [("https://k", "https://k"), ("http://127.0.0.1:8", "http://127.0.0.1:8")],
    "hub_token_hosts": [(("h",), "h"), (("h", "i"), ["h", "i"])],
    "kaggle_token_hosts": [((), []), (("k",), ["k"])],
}


def one(name: str, value: object, origin: str = "g3m.toml") -> Any:
    return getattr(merge([Layer(origin, {name: value})]), name)


def mistake(name: str, value: object, origin: str = "g3m.toml") -> str:
    with pytest.raises(SettingsError) as caught:
        one(name, value, origin)
    return str(caught.value)


def test_the_table_and_the_settings_are_one() -> None:
    """Each option of the table is a field with the same default, and nothing else is a field but mirrors."""
    defaults = {item.name: item.default for item in fields(Settings) if item.default is not MISSING}
    assert defaults == {**{option.name: option.default for option in OPTIONS}, "mirrors": ()}
    assert set(VALUES) == set(BY_NAME)
    assert merge([]) == Settings()
    assert merge([]).origins == {}


def test_names_flags_and_variables_follow_one_form() -> None:
    """No flag or variable is used twice; flags are lower case with dashes, variables upper case, helps sentences."""
    flags = [option.flag for option in OPTIONS if option.flag]
    variables = [option.variable for option in OPTIONS if option.variable]
    assert len(set(flags)) == len(flags)
    assert len(set(variables)) == len(variables)
    assert all(re.fullmatch(r"--[a-z]+(-[a-z]+)*", flag) for flag in flags)
    assert all(re.fullmatch(r"[A-Z0-9]+(_[A-Z0-9]+)*", name) for name in variables)
    assert all(option.help.endswith(".") for option in OPTIONS)
    assert all(option.default in option.choices for option in OPTIONS if option.choices)


@given(
    st.dictionaries(
        st.sampled_from(sorted(VALUES)), st.lists(st.none() | st.integers(0, 1), min_size=4, max_size=4)
    )
)
def test_the_first_layer_that_speaks_wins(choice: dict[str, list[int | None]]) -> None:
    """For every option, the strongest layer that gives a value decides, and its origin is recorded."""
    origins = ["command line", "environment", "./g3m.toml", "~/.config/g3m.toml"]
    layers = [
        Layer(
            origin,
            {name: None if picks[n] is None else VALUES[name][picks[n]][1] for name, picks in choice.items()},
        )
        for n, origin in enumerate(origins)
    ]
    settings = merge(layers)
    for name, option in BY_NAME.items():
        picks = choice.get(name, [None] * 4)
        speaking = [(origins[n], VALUES[name][pick][0]) for n, pick in enumerate(picks) if pick is not None]
        origin, value = speaking[0] if speaking else (None, option.default)
        assert getattr(settings, name) == value
        assert type(getattr(settings, name)) is type(option.default)
        assert settings.origins.get(name) == origin


def test_falsy_values_are_values() -> None:
    """`false`, 0 and an empty text of a stronger layer win over a weaker layer; only None is silence."""
    strong = Layer("command line", {"keep_assets": False, "jobs": 0, "lang": "", "recipes": None})
    weak = Layer("g3m.toml", {"keep_assets": True, "jobs": 4, "lang": "zh", "recipes": ["r"]})
    settings = merge([strong, weak])
    assert (settings.keep_assets, settings.jobs, settings.lang, settings.recipes) == (False, 0, "", ("r",))


def test_variables_become_a_layer() -> None:
    """Only the named variables are read, by the names of their options; an empty one counts as absent."""
    layer = from_variables(
        {"G3M_ROOT": "/d", "HF_ENDPOINT": "https://m", "G3M_JOBS": "", "PATH": "/bin", "root": "x"}
    )
    assert layer == Layer("environment", {"root": "/d", "hub_endpoint": "https://m"})
    every = {option.variable: "1" for option in OPTIONS if option.variable}
    assert set(from_variables(every).values) == {option.name for option in OPTIONS if option.variable}


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes", "On"])
def test_words_that_mean_yes(text: str) -> None:
    """A variable may say yes in the usual ways."""
    assert one("offline", text) is True


@pytest.mark.parametrize("text", ["0", "false", "False", "no", "OFF"])
def test_words_that_mean_no(text: str) -> None:
    """And no, too: `G3M_OFFLINE=0` is not offline."""
    assert one("offline", text) is False


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("offline", "maybe", "must be true or false, not 'maybe'"),
        ("offline", 2, "must be true or false, not 2"),
        ("offline", [], "must be true or false"),
        ("jobs", "many", "must be a number, not 'many'"),
        ("jobs", "1.5", "must be a number, not '1.5'"),
        ("jobs", [1], "must be a number"),
        ("jobs", True, "must be a number from 0 up, not True"),
        ("jobs", -1, "must be a number from 0 up, not -1"),
        ("stall_timeout_s", 0, "must be a number from 0.1 up, not 0"),
        ("stall_timeout_s", "soon", "must be a number"),
        ("max_rejected", -2, "must be a number from -1"),
        ("parity", "all", "must be one of none, nxtp, not 'all'"),
        ("lang", "fr", "must be one of en, zh, not 'fr'"),
        ("root", 5, "must be text, not int"),
        ("root", ["a"], "must be text, not list"),
        ("recipes", 5, "must be a list of texts"),
        ("recipes", ["a", 5], "must be a list of texts"),
        ("recipes", {"a": 1}, "must be a list of texts"),
    ],
)
@pytest.mark.parametrize("origin", ["g3m.toml", "command line"])
def test_bad_values_name_layer_and_key(name: str, value: object, words: str, origin: str) -> None:
    """Each kind of wrong value is refused with the place where it stands and what it must be."""
    assert mistake(name, value, origin).startswith(f"{origin}: {name}: {words}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jobs", 2.7),
        ("jobs", float("inf")),
        ("jobs", float("nan")),
        ("stall_timeout_s", float("nan")),
        ("max_rejected", float("nan")),
        ("max_rejected", "nan"),
        ("max_rejected", 50),
        ("hub_endpoint", "hf-mirror.com"),
        ("kaggle_endpoint", "ftp://k"),
        ("root", ""),
    ],
)
def test_values_that_would_do_harm_later_are_refused(name: str, value: object) -> None:
    """Numbers that are none, shares above 1, addresses without scheme and an empty root are mistakes, too."""
    assert mistake(name, value).startswith(f"g3m.toml: {name}: must be")


@pytest.mark.parametrize(
    ("variable", "name", "text"),
    [
        ("G3M_JOBS", "jobs", "x"),
        ("G3M_PARITY", "parity", "x"),
        ("G3M_OFFLINE", "offline", "x"),
        ("G3M_STALL_TIMEOUT_S", "stall_timeout_s", "x"),
    ],
)
def test_bad_variables_are_named_as_variables(variable: str, name: str, text: str) -> None:
    """Whoever set a variable reads the variable's name, not the config file's key."""
    with pytest.raises(SettingsError, match=rf"^environment: {variable}: must be"):
        merge([from_variables({variable: text})])
    assert name in BY_NAME


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("rot", "; did you mean 'root'?"),
        ("keep-assets", "; did you mean 'keep_assets'?"),
        ("mirror", "; did you mean 'mirrors'?"),
        ("zzzzzz", ""),
        ("origins", ""),
    ],
)
def test_unknown_keys_are_refused(key: str, words: str) -> None:
    """A key that is no option is an error in whatever layer, with the name that was meant."""
    good = Layer("command line", {"root": "a"})
    with pytest.raises(SettingsError) as caught:
        merge([good, Layer("g3m.toml", {key: "x"})])
    assert str(caught.value).startswith(f"g3m.toml: {key}: unknown key")
    assert str(caught.value).endswith(words or "unknown key") or key == "origins"


def test_mirrors_are_read_in_order() -> None:
    """Tables of prefix and places become mirrors; the strongest layer's list stands alone."""
    tables = [
        {"prefix": "https://a/", "places": ["https://m/", "https://a/"]},
        {"prefix": "http://b/", "places": ["http://n/"]},
    ]
    expected = (Mirror("https://a/", ("https://m/", "https://a/")), Mirror("http://b/", ("http://n/",)))
    settings = merge([Layer("x", {"mirrors": tables}), Layer("y", {"mirrors": [{"prefix": "broken"}]})])
    assert settings.mirrors == expected
    assert settings.origins["mirrors"] == "x"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "mirrors: write [[mirrors]] tables"),
        ("https://m", "mirrors: write [[mirrors]] tables"),
        (["https://m"], "mirrors[0]: needs exactly the keys prefix and places"),
        ([{"prefix": "https://a/"}], "mirrors[0]: needs exactly the keys"),
        ([{"prefix": "https://a/", "places": ["https://b/"], "x": 1}], "mirrors[0]: needs exactly the keys"),
        (
            [{"prefix": "https://a/", "places": []}],
            "mirrors[0]: prefix is a text, places a list of at least one",
        ),
        ([{"prefix": "https://a/", "places": "https://b/"}], "mirrors[0]: prefix is a text"),
        ([{"prefix": "https://a/", "places": [5]}], "mirrors[0]: prefix is a text"),
        ([{"prefix": 5, "places": ["https://b/"]}], "mirrors[0]: prefix is a text"),
        (
            [{"prefix": "a/", "places": ["https://b/"]}],
            "mirrors[0]: 'a/' must begin with https:// or http://",
        ),
        ([{"prefix": "https://a/", "places": ["https://b/", "ftp://c"]}], "mirrors[0]: 'ftp://c' must begin"),
        (
            [{"prefix": "https://a/", "places": ["https://b/"]}, {"prefix": ""}],
            "mirrors[1]: needs exactly the keys",
        ),
    ],
)
def test_broken_mirrors_say_which_and_why(value: object, words: str) -> None:
    """A mirror that cannot be used is named with its number and the rule it breaks."""
    assert mistake("mirrors", value).startswith(f"g3m.toml: {words}")


def test_a_mirrors_password_is_not_shown() -> None:
    """Also in an error an address is shown without its user info."""
    assert "QXZ" not in mistake("mirrors", [{"prefix": "ftp://me:QXZ@a/", "places": ["https://b/"]}])


def test_endpoints_come_from_the_settings() -> None:
    """What is set for the hub and Kaggle is where addresses are built."""
    settings = merge([from_variables({"HF_ENDPOINT": "https://m", "KAGGLE_API_ENDPOINT": "https://k"})])
    assert settings.endpoints == Endpoints(hub="https://m", kaggle="https://k")
    assert Settings().endpoints == Endpoints()


json_values = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*sorted(set(BY_NAME) - {"jobs"}), "mirrors"]), json_values)
def test_any_value_is_taken_or_refused(name: str, value: object) -> None:
    """Whatever stands in a config file: a value of the option's type, or a SettingsError."""
    try:
        found = one(name, value)
    except SettingsError as error:
        assert str(error).startswith("g3m.toml: ")
    else:
        assert isinstance(found, type(getattr(Settings(), name)))


BOUNDS = [  # default, least, most, choices
    ("parity", "none", 0, inf, ("none", "nxtp")),
    ("jobs", 0, 0, inf, ()),
    ("max_rejected", -1.0, -1, 1, ()),
    ("image_size", 0, 0, 16384, ()),
    ("resize", "keep_ratio", 0, inf, ("keep_ratio", "keep_ratio_largest", "center_crop", "border")),
    ("quality", 95, 1, 100, ()),
    ("requests", 256, 1, 2048, ()),
    ("per_host", 16, 1, 256, ()),
    ("url_timeout_s", 30.0, 0.1, inf, ()),
    ("hash_mismatch", "reject", 0, inf, ("reject", "keep")),
    ("min_side", 0, 0, inf, ()),
    ("max_aspect", 0.0, 0, inf, ()),
    ("runner", "local", 0, inf, ("local", "ray")),
    ("lang", "", 0, inf, ("", "en", "zh")),
    ("stall_timeout_s", 30.0, 0.1, inf, ()),
    ("connections", 16, 1, 64, ()),
]


@pytest.mark.parametrize(("name", "default", "least", "most", "choices"), BOUNDS)
def test_what_a_setting_may_be(
    name: str, default: object, least: float, most: float, choices: tuple[str, ...]
) -> None:
    """A bound or a choice that moves breaks somebody's command line, so it moves on purpose only: here, too."""
    (option,) = (one for one in OPTIONS if one.name == name)
    assert (option.default, option.least, option.most, option.choices) == (default, least, most, choices)


def test_no_setting_with_a_bound_is_missing() -> None:
    """The table above has every setting that is a number or a choice; the others are texts, lists, and yes or no."""
    numbers = {
        one.name
        for one in OPTIONS
        if one.choices or (isinstance(one.default, (int, float)) and not isinstance(one.default, bool))
    }
    assert {name for name, *_ in BOUNDS} == numbers


def test_what_a_strangers_folder_must_not_say() -> None:
    """A `g3m.toml` of the working folder leads into no private network, to no proxy, and sends no token anywhere."""
    assert {one.name for one in OPTIONS if one.personal} == {
        "allow_private", "ignore_robots_txt", "address", "proxy", "peer", "trust_peers", "hub_token_hosts", "kaggle_token_hosts",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [(name, least, most) for name, default, least, most, choices in BOUNDS if not choices],
)
def test_a_number_may_be_its_bound(name: str, least: float, most: float) -> None:
    """Both bounds are allowed, and what lies beyond is not."""
    for bound, beyond in ((least, least - 1), (most, most + 1)):
        if bound != inf:
            assert getattr(merge([Layer("argument", {name: bound})]), name) == bound
            with pytest.raises(SettingsError, match="must be a number"):
                merge([Layer("argument", {name: beyond})])
