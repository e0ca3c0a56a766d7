"""The ssh line: right for a machine, for a job, and for names that nobody should trust."""

from __future__ import annotations

import shlex

import pytest

from g3m.core.tunnel import is_remote, is_without_display, tunnel_line


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"USER": "ana"}, "ssh -N -L 8317:127.0.0.1:8400 ana@gpu1"),
        ({"LOGNAME": "ana"}, "ssh -N -L 8317:127.0.0.1:8400 ana@gpu1"),
        ({}, "ssh -N -L 8317:127.0.0.1:8400 gpu1"),
        ({"USER": "a", "SSH_CONNECTION": "10.0.0.9 50000 10.0.0.7 22"}, "ssh -N -L 8317:127.0.0.1:8400 a@10.0.0.7"),
        ({"USER": "a", "SSH_CONNECTION": "x y $(z) 22"}, "ssh -N -L 8317:127.0.0.1:8400 a@gpu1"),
        (
            {"USER": "a", "SLURM_JOB_ID": "1", "SLURM_SUBMIT_HOST": "login", "SLURMD_NODENAME": "node042"},
            "ssh -N -J a@login -L 8317:127.0.0.1:8400 a@node042",
        ),
        ({"USER": "a", "SLURM_JOB_ID": "1", "SLURM_SUBMIT_HOST": "gpu1"}, "ssh -N -L 8317:127.0.0.1:8400 a@gpu1"),
        ({"USER": "a", "SSH_CONNECTION": "::1 5 fe80::7%eth0 22"}, "ssh -N -L 8317:127.0.0.1:8400 a@fe80::7%eth0"),
        ({"USER": "a", "SSH_CONNECTION": "1.2.3.4 5 10.0.0.7 2222"}, "ssh -N -p 2222 -L 8317:127.0.0.1:8400 a@10.0.0.7"),
        ({"USER": "a", "SSH_CONNECTION": "1.2.3.4 5 10.0.0.7 -x"}, "ssh -N -L 8317:127.0.0.1:8400 a@gpu1"),
        ({"USER": "a", "SSH_CONNECTION": "10.0.0.7"}, "ssh -N -L 8317:127.0.0.1:8400 a@gpu1"),
        (
            {"USER": "a", "SLURM_JOB_ID": "1", "SLURM_SUBMIT_HOST": "login", "SSH_CONNECTION": "1.2.3.4 5 9.9.9.9 22"},
            "ssh -N -J a@9.9.9.9 -L 8317:127.0.0.1:8400 a@gpu1",
        ),
        (
            {"USER": "a", "SLURM_JOB_ID": "1", "SLURM_SUBMIT_HOST": "login", "SSH_CONNECTION": "::1 5 2001:db8::1 2200"},
            "ssh -N -J 'a@[2001:db8::1]:2200' -L 8317:127.0.0.1:8400 a@gpu1",
        ),
        (
            {"USER": "a", "SLURM_JOB_ID": "1", "SLURM_SUBMIT_HOST": "gpu1.cluster", "SSH_CONNECTION": "1.2.3.4 5 9.9.9.9 22"},
            "ssh -N -L 8317:127.0.0.1:8400 a@9.9.9.9",
        ),
        ({"USER": "ana; reboot"}, "ssh -N -L 8317:127.0.0.1:8400 gpu1"),
        ({"USER": "a", "SSH_CONNECTION": "1.2.3.4 5 10.0.0.7;x 22"}, "ssh -N -L 8317:127.0.0.1:8400 a@gpu1"),
        ({"USER": "a", "SSH_CONNECTION": "1.2.3.4 5 10.0.0.7 22 x"}, "ssh -N -L 8317:127.0.0.1:8400 a@gpu1"),
        ({"USER": "a", "SLURM_JOB_ID": "1", "SLURM_SUBMIT_HOST": "login x", "SLURMD_NODENAME": "n$x"}, "ssh -N -L 8317:127.0.0.1:8400 a@gpu1"),
        ({"USER": "-oProxyCommand=x"}, "ssh -N -L 8317:127.0.0.1:8400 gpu1"),
    ],
)  # fmt: skip
def test_the_line_for_a_port(variables: dict[str, str], line: str) -> None:
    """Directly, over the address of the session, or through the login node; a name that is none is left out."""
    assert tunnel_line(variables, "gpu1", "8400", 8317) == line


def test_the_line_for_a_socket_is_quoted() -> None:
    """A path with blanks stays one word."""
    line = tunnel_line({"USER": "a"}, "gpu1", "/home/a b/g3m.sock", 8317)
    assert shlex.split(line) == ["ssh", "-N", "-L", "8317:/home/a b/g3m.sock", "a@gpu1"]


def test_who_is_far_away() -> None:
    """SSH and Slurm say so, an empty variable does not."""
    assert is_remote({"SSH_CONNECTION": "a b c d"}) and is_remote({"SLURM_JOB_ID": "7"})
    assert not is_remote({"SSH_CONNECTION": ""})


@pytest.mark.parametrize("name", ["SSH_CONNECTION", "SSH_CLIENT", "SLURM_JOB_ID"])
def test_each_sign_of_being_far_away(name: str) -> None:
    """One of the three is enough."""
    assert is_remote({name: "x"})
    assert not is_remote({name: "", "SSH_TTY": "x"})


@pytest.mark.parametrize(
    ("variables", "system", "without"),
    [
        ({}, "linux", True),
        ({"DISPLAY": ":0"}, "linux", False),
        ({"WAYLAND_DISPLAY": "w"}, "linux", False),
        ({"DISPLAY": ""}, "linux", True),
        ({}, "darwin", False),
    ],
)
def test_where_no_window_can_be_opened(variables: dict[str, str], system: str, without: bool) -> None:
    """On Linux without either display; a Mac always has one."""
    assert is_without_display(variables, system) is without
