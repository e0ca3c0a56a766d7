"""Finds the user's tokens where the services' own tools keep them, and binds each to its hosts.

    hub     HF_TOKEN, HF_TOKEN_PATH, HF_HOME/token, ~/.cache/huggingface/token
    Kaggle  KAGGLE_API_TOKEN, ~/.kaggle/access_token, KAGGLE_USERNAME with KAGGLE_KEY,
            kaggle.json in KAGGLE_CONFIG_DIR, ~/.config/kaggle or ~/.kaggle

Nothing is written, and nothing found here is ever printed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from g3m.adapters.plain import open_plain
from g3m.core.secrets import Secret, Token

_LIMIT_BYTES = 65536


def hub_token(variables: Mapping[str, str], home: Path, hosts: Iterable[str]) -> Token | None:
    """The Hugging Face token, or None."""
    files = [Path(variables["HF_TOKEN_PATH"])] if variables.get("HF_TOKEN_PATH") else []
    if variables.get("HF_HOME"):
        files.append(Path(variables["HF_HOME"]) / "token")
    files.append(home / ".cache" / "huggingface" / "token")
    value = variables.get("HF_TOKEN", "").strip() or _first(files)
    return Token(Secret(f"Bearer {value}"), frozenset(hosts)) if _usable(value) else None


def kaggle_token(variables: Mapping[str, str], home: Path, hosts: Iterable[str]) -> Token | None:
    """The Kaggle credentials, or None."""
    bearer = variables.get("KAGGLE_API_TOKEN", "").strip() or _first([home / ".kaggle" / "access_token"])
    if _usable(bearer):
        return Token(Secret(f"Bearer {bearer}"), frozenset(hosts))
    name, key = variables.get("KAGGLE_USERNAME", ""), variables.get("KAGGLE_KEY", "")
    if not (name and key):
        name, key = _kaggle_json(variables, home)
    if not (_usable(name) and _usable(key)):
        return None
    basic = base64.b64encode(f"{name}:{key}".encode()).decode()
    return Token(Secret(f"Basic {basic}"), frozenset(hosts))


def _kaggle_json(variables: Mapping[str, str], home: Path) -> tuple[str, str]:
    folders = [home / ".config" / "kaggle", home / ".kaggle"]
    if variables.get("KAGGLE_CONFIG_DIR"):
        folders.insert(0, Path(variables["KAGGLE_CONFIG_DIR"]))
    try:
        body = json.loads(_first(folder / "kaggle.json" for folder in folders))
        return str(body["username"]), str(body["key"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""


def _first(files: Iterable[Path]) -> str:
    for path in files:
        try:
            with open_plain(path) as file:
                return file.read(_LIMIT_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError):
            continue
    return ""


def _usable(value: str) -> bool:
    """Whether a value may stand in a header: no line break can be smuggled in."""
    return bool(value) and value.isascii() and value.isprintable()
