"""Lines for a shell that set or unset the proxy variables, in both cases, because programs differ."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
NEVER = ("localhost", "127.0.0.1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""Reached directly. `::1` is left out: some programs stumble over it, and `localhost` means the same."""


def all_names() -> tuple[str, ...]:
    """Every variable, in lower and upper case."""
    return tuple(spelling for name in NAMES for spelling in (name, name.upper()))


def set_lines(shell: str, proxy: str, variables: Mapping[str, str]) -> Iterator[str]:
    """Set the variables to a proxy; the exceptions that are set already stay."""
    known = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    entries = [entry for entry in known.replace(",", " ").split() if entry.isprintable()]
    exceptions = ",".join(dict.fromkeys([*entries, *NEVER]))
    for name in all_names():
        value = exceptions if name.lower() == "no_proxy" else proxy
        yield f"set -gx {name} {_fish(value)};" if shell == "fish" else f"export {name}={shlex.quote(value)}"


def unset_lines(shell: str) -> Iterator[str]:
    """Unset the variables."""
    for name in all_names():
        yield f"set -e {name};" if shell == "fish" else f"unset {name}"


def _fish(value: str) -> str:
    r"""A value in fish's single quotes, where only a backslash and the quote itself are special.

    >>> print(_fish("it's"))
    'it\'s'
    """
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def without_login(proxy: str) -> str:
    """A proxy's URL without the login in it.

    >>> without_login("http://me:pw@127.0.0.1:7890"), without_login("socks5h://127.0.0.1:7891")
    ('http://127.0.0.1:7890', 'socks5h://127.0.0.1:7891')
    """
    scheme, separator, rest = proxy.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
