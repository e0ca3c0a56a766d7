"""`g3m doctor`: a block for a bug report and the first things that go wrong. It prints no secret."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from g3m.adapters.credentials import hub_token, kaggle_token
from g3m.adapters.disk import Lease
from g3m.adapters.session import Session
from g3m.core.secrets import mask
from g3m.ui.figures import count_text, size_text
from g3m.ui.words import Speaker

_HOST = re.compile(r"[\w.:\[\]-]+")
PACKAGES = ("click", "rich", "pillow", "pycurl", "certifi", "isal", "platformdirs", "pyarrow")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SHOWN = ("SLURM_JOB_ID", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "TMPDIR")
LITTLE_BYTES = 20_000_000_000
FEW_INODES = 10_000


def examine(session: Session, configs: Sequence[Path]) -> dict[str, Any]:
    """The facts: versions, disk, tokens (present or not), proxies (masked), settings and their origin."""
    import pycurl

    settings, store = session.settings, session.store
    free = store.free()
    origins = settings.origins
    proxies = {
        name: _shown(name, value)
        for base in PROXIES
        for name in (base, base.upper())
        if (value := session.variables.get(name))
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
        "tokens": {
            "huggingface": hub_token(session.variables, session.home, settings.hub_token_hosts) is not None,
            "kaggle": kaggle_token(session.variables, session.home, settings.kaggle_token_hosts) is not None,
        },
        "proxies": proxies,
        "variables": {name: session.variables[name] for name in SHOWN if session.variables.get(name)},
        "config_files": [str(path) for path in configs],
        "settings": {
            name: {"value": _plain(getattr(settings, name)), "from": origin}
            for name, origin in origins.items()
        },
        "run": Lease(store.work / "lock").holder(),
        "warnings": list(_warnings(session)),
    }


def _shown(name: str, value: str) -> str:
    """A proxy variable without its login; the list of exceptions as it is."""
    if name.lower() == "no_proxy":
        return value
    # However it is written, a login stands before the last @; what is no host behind it is not shown.
    scheme = value.partition("://")[0] if "://" in value else "http"
    host = _HOST.match(value.rpartition("@")[2].rpartition("//")[2])
    return f"{scheme if scheme.isalnum() else 'http'}://{host.group() if host else '?'}"


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


def _warnings(session: Session) -> Iterator[str]:
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
    for name, value in session.variables.items():
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
    for warning in facts["warnings"]:
        yield f"warning   {warning}"
