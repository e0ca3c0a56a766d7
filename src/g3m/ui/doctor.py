"""`g3m doctor`: a block for a bug report, the first things that go wrong, and what the network does.

It prints no secret. What the network part shows is ui/network.py.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g3m.adapters.credentials import hub_token, kaggle_token
from g3m.adapters.disk import Lease
from g3m.adapters.session import Session
from g3m.core.errors import Bilingual, G3MError, SettingsError
from g3m.core.peers import shown
from g3m.core.secrets import mask
from g3m.ui.figures import count_text, size_text
from g3m.ui.network import Report
from g3m.ui.options import Context, load_settings
from g3m.ui.words import WORDS, Speaker, language

if TYPE_CHECKING:
    from g3m.steps.nodes import Found

_HOST = re.compile(r"[\w.:\[\]-]+")
PACKAGES = ("click", "rich", "pillow", "pycurl", "certifi", "isal", "platformdirs", "pyarrow")
SCHEMES = ("http", "https", "socks", "socks4", "socks4a", "socks5", "socks5h")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SHOWN = ("SLURM_JOB_ID", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "TMPDIR")
LITTLE_BYTES = 20_000_000_000
FEW_INODES = 10_000


def open_for_doctor(flags: Mapping[str, Any], *, json: bool) -> tuple[Context, tuple[SettingsError, ...]]:
    """A context even where a variable names an unusable proxy, and what is wrong with those variables."""
    from g3m.adapters.session import open_session
    from g3m.core.proxies import find_ways
    from g3m.steps.diagnose import usable_variables

    settings = load_settings(flags)
    find_ways(settings.proxy, no_proxy=False, variables={})  # what an option says must be right
    variables, problems = usable_variables(os.environ)
    session = open_session(settings, variables=variables)
    return Context(session, Speaker(language(settings.lang, os.environ)), json), problems


def look_at_network(names: Sequence[str], context: Context, problems: Sequence[SettingsError] = ()) -> Report:
    """Ask the hosts of the datasets over every way there is; nothing is changed and nothing is written."""
    from g3m.steps import diagnose

    session, began_s = context.session, context.session.monotonic()
    around, locked = _look_around(session)
    survey = diagnose.survey(names, session, around.listeners)
    if not context.json:
        places, ways = len(survey.places), len(survey.ways)
        context.tell(context.speaker.say("doctor-looking", places=places, ways=ways))
    order = {line: number for number, line in enumerate(survey.lines)}
    findings = sorted(diagnose.examine(survey.lines, session), key=lambda finding: order[finding.line])
    return Report(
        survey=survey,
        names=tuple(names) or diagnose.DEFAULT_NAMES,
        findings=tuple(findings),
        around=around,
        notes=(*map(_both, (*problems, *locked)), *session.ways.notes),
        seconds=session.monotonic() - began_s,
        has_token=any(_tokens(session).values()),
    )


def _look_around(session: Session) -> tuple[Found, tuple[G3MError, ...]]:
    """The core and the proxies of this machine, and why a core does not let us in."""
    from g3m.steps.nodes import Found, Wish, look_around

    try:
        found = look_around(session, Wish())
    except G3MError as error:
        return Found(), (error,)
    return found, (found.locked,) if found.locked is not None else ()


def _both(error: G3MError) -> Bilingual:
    english, chinese = (
        WORDS["doctor-hint"][n].format(message=error.message, hint=error.hint[n]) for n in (0, 1)
    )
    return english, chinese


def _tokens(session: Session) -> dict[str, bool]:
    settings, variables, home = session.settings, session.variables, session.home
    return {
        "huggingface": hub_token(variables, home, settings.hub_token_hosts) is not None,
        "kaggle": kaggle_token(variables, home, settings.kaggle_token_hosts) is not None,
    }


def examine(
    session: Session, configs: Sequence[Path], variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The facts: versions, disk, tokens (present or not), proxies (masked), settings and their origin.

    `variables` are the environment's as they were written, if the session got repaired ones.
    """
    import pycurl

    settings, store = session.settings, session.store
    variables = session.variables if variables is None else variables
    free = store.free()
    origins = settings.origins
    proxies = {
        name: _shown(name, value)
        for base in PROXIES
        for name in (base, base.upper())
        if (value := variables.get(name))
    }
    return {
        "g3m": _version("g3m"),
        "python": f"{platform.python_version()} {sys.implementation.name}",
        "platform": f"{platform.platform()} {' '.join(part for part in platform.libc_ver() if part)}",
        "packages": {name: _version(name) for name in PACKAGES},
        "libcurl": pycurl.version,
        "cores": os.cpu_count(),
        "root": str(store.root.absolute()),
        "free_bytes": free.size_bytes,
        "free_inodes": free.inodes,
        "home_free_bytes": shutil.disk_usage(session.home).free if session.home.is_dir() else None,
        "tokens": _tokens(session),
        "proxies": proxies,
        "variables": {name: session.variables[name] for name in SHOWN if session.variables.get(name)},
        "config_files": [str(path) for path in configs],
        "settings": {
            name: {"value": _setting(name, getattr(settings, name)), "from": origin}
            for name, origin in origins.items()
        },
        "run": Lease(store.work / "lock").holder(),
        "warnings": [*_warnings(session, variables), *(note[0] for note in _unprotected(session))],
    }


def _shown(name: str, value: str) -> str:
    """A proxy variable without its login; the list of exceptions as it is."""
    if name.lower() == "no_proxy":
        return value
    # However it is written, a login stands before the last @; what is no host behind it is not shown.
    scheme = value.partition("://")[0] if "://" in value else "http"
    host = _HOST.match(value.rpartition("@")[2].rpartition("//")[2])
    return f"{scheme if scheme.lower() in SCHEMES else '?'}://{host.group() if host else '?'}"


def _setting(name: str, value: Any) -> Any:
    """A setting as JSON. The path of a peer's address is a secret."""
    return [shown(address) for address in value] if name == "peer" else _plain(value)


def _plain(value: Any) -> Any:
    """A setting as JSON; URLs among them without logins."""
    if isinstance(value, str):
        return mask(value) if "://" in value else value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "prefix"):
        return {"prefix": mask(value.prefix), "places": [mask(place) for place in value.places]}
    return value


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _unprotected(session: Session) -> tuple[Bilingual, ...]:
    """What is to be said of plain http in the settings, for every known dataset."""
    from g3m.steps.resolve import unprotected

    recipes = [session.recipes.get(name) for name in session.recipes.names]
    return unprotected(recipes, session.settings)


def _warnings(session: Session, variables: Mapping[str, str]) -> Iterator[str]:
    free = session.store.free()
    if free.size_bytes < LITTLE_BYTES:
        yield f"{session.store.root}: only {size_text(free.size_bytes)} free; `g3m plan` says what is needed"
    if free.inodes is not None and free.inodes < FEW_INODES:
        yield f"{session.store.root}: only {count_text(free.inodes)} inodes free"
    root = session.store.root.absolute()
    if root.is_relative_to(session.home) and session.home != Path("/root"):
        yield f"{root} lies in the home folder, which often has a small quota; --root chooses another place"
    if sys.version_info < (3, 11):
        yield "this Python gets no security fixes any more; g3m works with it, a newer one is safer"
    for name, value in variables.items():
        if name.lower() in PROXIES[:3] and value.startswith(("socks4://", "socks://")):
            yield f"{name} has an unusual scheme; write socks5h://HOST:PORT"


def doctor_lines(facts: dict[str, Any], session: Session, speaker: Speaker) -> Iterator[str]:
    """`g3m doctor` for people."""
    yield f"g3m {facts['g3m']}  python {facts['python']}  {facts['platform']}"
    yield "packages  " + "  ".join(f"{name} {version or '-'}" for name, version in facts["packages"].items())
    yield f"network   {facts['libcurl']}"
    inodes = "" if facts["free_inodes"] is None else f", {count_text(facts['free_inodes'])} inodes"
    yield f"disk      {facts['root']}: {size_text(facts['free_bytes'])} free{inodes}; {facts['cores']} cores"
    settings = session.settings
    hub, kaggle = settings.hub_token_hosts, settings.kaggle_token_hosts
    for name, hosts, absent in (("hub", hub, "doctor-absent"), ("kaggle", kaggle, "doctor-absent-kaggle")):
        here = facts["tokens"]["huggingface" if name == "hub" else name]
        state = speaker.say("doctor-present", hosts=", ".join(hosts)) if here else speaker.say(absent)
        yield f"token     {speaker.say(f'doctor-token-{name}')}: {state}"
    for name, value in facts["proxies"].items():
        yield f"proxy     {name}={value}"
    for name, value in facts["variables"].items():
        yield f"variable  {name}={value}"
    for path in facts["config_files"]:
        yield f"config    {path}"
    for name, item in facts["settings"].items():
        yield f"setting   {name} = {item['value']} ({item['from']})"
    if facts["run"]:
        yield speaker.say("running-by", pid=facts["run"]["pid"], host=facts["run"]["host"])
    said = {note[0]: speaker.pick(note) for note in _unprotected(session)}
    for warning in facts["warnings"]:
        yield f"warning   {said.get(warning, warning)}"
