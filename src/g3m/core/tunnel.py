"""The line that brings a page on this machine to the reader's own: `ssh -L`, from what the shell knows.

Pure: variables and names are given.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
_ADDRESS = re.compile(r"[0-9A-Fa-f:][0-9A-Fa-f.:]*(?:%[A-Za-z0-9]+)?")


def is_remote(variables: Mapping[str, str]) -> bool:
    """Whether the reader sits at another machine: over SSH, or within a job of Slurm."""
    return any(variables.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SLURM_JOB_ID"))


def is_without_display(variables: Mapping[str, str], system: str) -> bool:
    """Whether no window can be opened here; `system` is that of `sys.platform`.

    >>> is_without_display({}, "linux"), is_without_display({"WAYLAND_DISPLAY": "wayland-0"}, "linux")
    (True, False)
    """
    return system != "darwin" and not any(variables.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def tunnel_line(variables: Mapping[str, str], host: str, target: str, port: int) -> str:
    """The command to run at one's own machine; `target` is a port here or the path of a socket.

    >>> tunnel_line({"USER": "ana"}, "gpu1", "8317", 8317)
    'ssh -N -L 8317:127.0.0.1:8317 ana@gpu1'
    >>> job = {"USER": "ana", "SLURM_JOB_ID": "7", "SLURM_SUBMIT_HOST": "login1"}
    >>> tunnel_line(job, "node042", "8317", 8317)
    'ssh -N -J ana@login1 -L 8317:127.0.0.1:8317 ana@node042'
    """
    user = _name(variables.get("USER") or variables.get("LOGNAME") or "")
    end = f"127.0.0.1:{target}" if target.isdecimal() else target
    # The address that the reader's session came in by is the one that reaches this side from there.
    door, door_port = _came_in(variables.get("SSH_CONNECTION", ""))
    options: list[str] = []
    node = _name(variables.get("SLURMD_NODENAME") or "") or host
    login = _name(variables.get("SLURM_SUBMIT_HOST") or "")
    if variables.get("SLURM_JOB_ID") and _short(login) not in ("", _short(node)):
        # A job is given the variables of the shell on the login node.
        jump = f"[{door}]" if ":" in door else door or login
        options = ["-J", _at(user, jump) + (f":{door_port}" if door_port else "")]
        host = node
    else:
        options = ["-p", door_port] if door_port else []
        host = door or host
    return shlex.join(["ssh", "-N", *options, "-L", f"{port}:{end}", _at(user, host)])


def _came_in(text: str) -> tuple[str, str]:
    """Address and port (empty: the usual) of this side in SSH_CONNECTION; both empty if it is none."""
    words = text.split()
    if len(words) != 4 or not _ADDRESS.fullmatch(words[2]) or not words[3].isdecimal():
        return "", ""
    return words[2], "" if words[3] == "22" else words[3]


def _short(name: str) -> str:
    return name.partition(".")[0]


def _name(text: str) -> str:
    return text if _NAME.fullmatch(text) else ""


def _at(user: str, host: str) -> str:
    return f"{user}@{host}" if user else host
