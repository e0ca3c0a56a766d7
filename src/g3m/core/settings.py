"""Every option, said once: the command line, the variables, the config file and the reference page
are made from `OPTIONS`.

An option given on the command line wins over a variable, a variable over `./g3m.toml`, that over the
user's config file, and that over the default. Reading variables and files is the caller's work.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from g3m.core.errors import SettingsError
from g3m.core.routes import HUB_ENDPOINT, KAGGLE_ENDPOINT, Endpoints, Mirror
from g3m.core.secrets import mask

_SHOWN_CHARACTERS = 200
"""Of a key or a value in a message."""

Value = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: its name in the config file, its default, flag and variable; empty means none."""

    name: str
    default: Value
    help: str
    flag: str = ""
    variable: str = ""
    choices: tuple[str, ...] = ()
    personal: bool = False
    """Not to be set by a `g3m.toml` of the working folder, which may be a stranger's."""
    least: float = 0
    most: float = math.inf


OPTIONS = (
    Option(
        name="root",
        default="g3m-data",
        flag="--root",
        variable="G3M_ROOT",
        help="Folder of the datasets.",
    ),
    Option(
        name="source",
        default=(),
        flag="--from",
        help="Archives or an unpacked folder that you have already, as [DATASET=]PATH; repeatable.",
    ),
    Option(
        name="parity",
        default="none",
        flag="--parity",
        variable="G3M_PARITY",
        choices=("none", "nxtp"),
        help="nxtp: the exact result of the old scripts, with their losses.",
    ),
    Option(
        name="jobs",
        default=0,
        flag="--jobs",
        variable="G3M_JOBS",
        help="Shards packed, or pictures decoded by verify, at the same time; 0: one a core, four at most.",
    ),
    Option(
        name="keep_assets",
        default=False,
        flag="--keep-assets",
        variable="G3M_KEEP_ASSETS",
        help="Keep the downloaded archives after their shards are published.",
    ),
    Option(
        name="catalog",
        default=False,
        flag="--catalog",
        variable="G3M_CATALOG",
        help="When done, bring the catalog of all samples up to date: for search, stats and view.",
    ),
    Option(
        name="max_rejected",
        default=-1.0,
        flag="--max-rejected",
        least=-1,
        most=1,
        help="Share of rejected samples (0 to 1) above which a dataset fails; the recipe's by default.",
    ),
    Option(
        name="stream",
        default=False,
        flag="--stream",
        variable="G3M_STREAM",
        help="Pack while the archive comes in and drop what is packed: it never lies on the disk whole.",
    ),
    Option(
        name="policy",
        default=(),
        flag="--policy",
        help="What happens to a class of findings: CLASS=keep, reject or fix; repeatable.",
    ),
    Option(
        name="image_size",
        default=0,
        flag="--image-size",
        least=0,
        most=16384,
        help="Resize pictures to so many pixels while packing; 0 leaves every byte as it is.",
    ),
    Option(
        name="resize",
        default="keep_ratio",
        flag="--resize",
        choices=("keep_ratio", "keep_ratio_largest", "center_crop", "border"),
        help="How: the shorter or the longer side, cropped to a square, or fitted into one.",
    ),
    Option(
        name="only_if_bigger",
        default=False,
        flag="--only-if-bigger",
        help="Let center_crop and border, too, leave pictures as they are that are no larger than the size.",
    ),
    Option(
        name="quality",
        default=95,
        flag="--quality",
        least=1,
        most=100,
        help="JPEG quality of pictures that are encoded anew (resized or fixed).",
    ),
    Option(
        name="form",
        default="",
        flag="--source",
        help="Which source of a dataset to take, where its recipe names several: `urls` for SBU.",
    ),
    Option(
        name="requests",
        default=256,
        flag="--requests",
        variable="G3M_REQUESTS",
        least=1,
        most=2048,
        help="URLs of a list that one task asks for at the same time.",
    ),
    Option(
        name="per_host",
        default=16,
        flag="--per-host",
        variable="G3M_PER_HOST",
        least=1,
        most=256,
        help="At most so many of them on one host, over all tasks and machines of a run.",
    ),
    Option(
        name="url_timeout_s",
        default=30.0,
        flag="--url-timeout",
        variable="G3M_URL_TIMEOUT_S",
        least=0.1,
        help="Seconds that one URL of a list may take as a whole.",
    ),
    Option(
        name="max_url_bytes",
        default="50MiB",
        flag="--max-url-bytes",
        help="How large the picture behind a URL of a list may be.",
    ),
    Option(
        name="allow_private",
        default=False,
        flag="--allow-private",
        personal=True,
        help="Let URLs of a list, and redirects, lead into private networks and to this machine.",
    ),
    Option(
        name="ignore_robots_txt",
        default=False,
        flag="--ignore-robots-txt",
        personal=True,
        help="Do not ask hosts of a list for robots.txt; opt-outs in headers are honoured all the same.",
    ),
    Option(
        name="hash_mismatch",
        default="reject",
        flag="--hash-mismatch",
        choices=("reject", "keep"),
        help="What happens to pictures whose sha256 is not the list's; kept ones are flagged.",
    ),
    Option(
        name="min_side",
        default=0,
        flag="--min-side",
        least=0,
        help="Leave out pictures of a list whose shorter side has fewer pixels.",
    ),
    Option(
        name="max_aspect",
        default=0.0,
        flag="--max-aspect",
        least=0,
        help="Leave out pictures of a list of which one side is more than so many times the other; 0: none.",
    ),
    Option(
        name="runner",
        default="local",
        flag="--runner",
        choices=("local", "ray"),
        help="Where tasks run: on this machine, or on a Ray cluster (pip install 'g3m[ray]').",
    ),
    Option(
        name="address",
        default="",
        flag="--address",
        personal=True,
        help="The Ray cluster: auto, or HOST:PORT; empty: one of its own on this machine.",
    ),
    Option(
        name="part",
        default="",
        flag="--part",
        help="Do only this part of the tasks, as I/N with I from 0: for job arrays.",
    ),
    Option(
        name="offline",
        default=False,
        flag="--offline",
        variable="G3M_OFFLINE",
        help="Use no network: what is here and in --from must do.",
    ),
    Option(
        name="lang",
        default="",
        flag="--lang",
        variable="G3M_LANG",
        choices=("", "en", "zh"),
        help="Language of messages: en or zh; by default that of the locale.",
    ),
    Option(
        name="stall_timeout_s",
        default=30.0,
        variable="G3M_STALL_TIMEOUT_S",
        least=0.1,
        help="Seconds without a byte after which a connection is closed and continued anew.",
    ),
    Option(
        name="proxy",
        default=(),
        flag="--proxy",
        personal=True,
        help="A proxy to use beside the direct way and those of the variables; repeatable.",
    ),
    Option(
        name="no_proxy",
        default=False,
        flag="--no-proxy",
        help="Use no proxy, whatever the variables say.",
    ),
    Option(
        name="route",
        default=(),
        flag="--route",
        help="Use only routes that fit: direct, proxy, or a host of a place or proxy; repeatable.",
    ),
    Option(
        name="peer",
        default=(),
        flag="--peer",
        personal=True,
        help="What `g3m share` printed on another machine: one more source for every file; repeatable.",
    ),
    Option(
        name="trust_peers",
        default=False,
        flag="--trust-peers",
        personal=True,
        help="Take shards that a peer has packed, too: their digests are its word, nothing pins them.",
    ),
    Option(
        name="connections",
        default=16,
        flag="--connections",
        variable="G3M_CONNECTIONS",
        least=1,
        most=64,
        help="At most so many connections to one host.",
    ),
    Option(
        name="bwlimit",
        default="",
        flag="--bwlimit",
        variable="G3M_BWLIMIT",
        help='Bytes a second for all downloads together (8M), or a timetable ("08:00,1M 23:00,off").',
    ),
    Option(
        name="max_time",
        default="",
        flag="--max-time",
        variable="G3M_MAX_TIME",
        help="Stop in good order after this time (90m, 11h30m) and exit with 10: run again to continue.",
    ),
    Option(
        name="recipes",
        default=(),
        help="Folders with recipes of your own.",
    ),
    Option(
        name="hub_endpoint",
        default=HUB_ENDPOINT,
        variable="HF_ENDPOINT",
        help="The Hugging Face Hub or a mirror of it; HF_TOKEN is not sent to a mirror.",
    ),
    Option(
        name="kaggle_endpoint",
        default=KAGGLE_ENDPOINT,
        variable="KAGGLE_API_ENDPOINT",
        help="Kaggle's API.",
    ),
    Option(
        name="hub_token_hosts",
        default=("huggingface.co",),
        variable="G3M_HUB_TOKEN_HOSTS",
        personal=True,
        help="Hosts that may see HF_TOKEN, for a hub of your own; as a variable separated by commas.",
    ),
    Option(
        name="kaggle_token_hosts",
        default=("www.kaggle.com", "api.kaggle.com"),
        variable="G3M_KAGGLE_TOKEN_HOSTS",
        personal=True,
        help="Hosts that may see the Kaggle credentials; as a variable separated by commas.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options in force. `origins` says for each where its value came from."""

    root: str = "g3m-data"
    source: tuple[str, ...] = ()
    parity: str = "none"
    jobs: int = 0
    keep_assets: bool = False
    catalog: bool = False
    max_rejected: float = -1.0
    stream: bool = False
    policy: tuple[str, ...] = ()
    image_size: int = 0
    resize: str = "keep_ratio"
    only_if_bigger: bool = False
    quality: int = 95
    form: str = ""
    requests: int = 256
    per_host: int = 16
    url_timeout_s: float = 30.0
    max_url_bytes: str = "50MiB"
    allow_private: bool = False
    ignore_robots_txt: bool = False
    hash_mismatch: str = "reject"
    min_side: int = 0
    max_aspect: float = 0.0
    runner: str = "local"
    address: str = ""
    part: str = ""
    offline: bool = False
    lang: str = ""
    stall_timeout_s: float = 30.0
    proxy: tuple[str, ...] = field(default=(), repr=False)
    no_proxy: bool = False
    route: tuple[str, ...] = ()
    peer: tuple[str, ...] = field(default=(), repr=False)
    trust_peers: bool = False
    connections: int = 16
    bwlimit: str = ""
    max_time: str = ""
    recipes: tuple[str, ...] = ()
    hub_endpoint: str = HUB_ENDPOINT
    kaggle_endpoint: str = KAGGLE_ENDPOINT
    hub_token_hosts: tuple[str, ...] = ("huggingface.co",)
    kaggle_token_hosts: tuple[str, ...] = ("www.kaggle.com", "api.kaggle.com")
    mirrors: tuple[Mirror, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(hub=self.hub_endpoint, kaggle=self.kaggle_endpoint)


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one origin (`command line`, `environment`, a file), strongest layer first.

    `shared` is true for a file that somebody else may have put there: `./g3m.toml`.
    """

    origin: str
    values: Mapping[str, Any]
    shared: bool = False


def from_variables(variables: Mapping[str, str]) -> Layer:
    """The layer of the environment; an empty variable counts as absent."""
    values = {
        option.name: variables[option.variable]
        for option in OPTIONS
        if option.variable and variables.get(option.variable)
    }
    return Layer("environment", values)


def merge(layers: Sequence[Layer]) -> Settings:
    """Combine layers, the first the strongest; SettingsError names the layer and the key."""
    known = {option.name: option for option in OPTIONS}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for name, value in layer.values.items():
            if value is None or name in values:
                continue
            if layer.shared and name in known and known[name].personal:
                raise SettingsError(
                    f"{layer.origin}: {name}: who may see your tokens or your traffic, and where strangers' "
                    "addresses may lead, is said in your own config file only"
                )
            if name == "mirrors":
                values[name] = _mirrors(value, layer.origin)
            elif name in known:
                values[name] = _convert(known[name], value, layer.origin)
            else:
                near = difflib.get_close_matches(name, [*known, "mirrors"], n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise SettingsError(f"{layer.origin}: {name[:_SHOWN_CHARACTERS]}: unknown key{hint}")
            origins[name] = layer.origin
    return Settings(**values, origins=origins)


def _shown(value: object) -> str:
    """A value in a message."""
    try:
        return repr(value)[:_SHOWN_CHARACTERS]
    except ValueError:  # a number of more digits than Python writes
        return "a number without end"


def _convert(option: Option, value: Any, origin: str) -> Value:
    where = f"{origin}: {option.variable if origin == 'environment' else option.name}"
    default = option.default
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        word = _shown(value).strip("'").lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
        raise SettingsError(f"{where}: must be true or false, not {_shown(value)}")
    if isinstance(default, tuple):
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",")) if origin == "environment" else (value,)
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise SettingsError(f"{where}: must be a list of texts")
    if isinstance(default, (int, float)):
        return _number(option, value, where)
    return _text(option, value, where)


def _text(option: Option, value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{where}: must be text, not {type(value).__name__}")
    if option.default and not value:
        raise SettingsError(f"{where}: must be a text that is not empty")
    if option.name.endswith("_endpoint") and not value.startswith(("https://", "http://")):
        raise SettingsError(f"{where}: must be an address that begins with https:// or http://")
    if option.choices and value not in option.choices:
        raise SettingsError(
            f"{where}: must be one of {', '.join(c for c in option.choices if c)}, not {_shown(value)}"
        )
    return value


def _number(option: Option, value: Any, where: str) -> int | float:
    try:
        number = int(value) if isinstance(option.default, int) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(f"{where}: must be a number, not {_shown(value)}") from None
    if isinstance(value, float) and number != value:  # also NaN, which equals nothing
        raise SettingsError(f"{where}: must be a whole number, not {_shown(value)}")
    # Written so that NaN, which is neither below nor above, is refused.
    if isinstance(value, bool) or not option.least <= number <= option.most:
        bounds = f"from {option.least:g} " + (f"to {option.most:g}" if option.most < math.inf else "up")
        raise SettingsError(f"{where}: must be a number {bounds}, not {_shown(value)}")
    return number


def _mirrors(value: Any, origin: str) -> tuple[Mirror, ...]:
    if not isinstance(value, list):
        raise SettingsError(f"{origin}: mirrors: write [[mirrors]] tables with prefix and places")
    mirrors = []
    for number, item in enumerate(value):
        where = f"{origin}: mirrors[{number}]"
        if not isinstance(item, dict) or set(item) != {"prefix", "places"}:
            raise SettingsError(f"{where}: needs exactly the keys prefix and places")
        prefix, places = item["prefix"], item["places"]
        texts = isinstance(places, list) and all(isinstance(place, str) for place in places)
        if not isinstance(prefix, str) or not texts or not places:
            raise SettingsError(f"{where}: prefix is a text, places a list of at least one text")
        for text in (prefix, *places):
            if not text.startswith(("https://", "http://")):
                raise SettingsError(f"{where}: {mask(text)!r} must begin with https:// or http://")
        mirrors.append(Mirror(prefix, tuple(places)))
    return tuple(mirrors)
