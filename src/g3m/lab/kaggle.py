"""A dataset as Kaggle's download API serves it: credentials, then a signed link to its storage."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from pathlib import Path

from g3m.lab.files import Digests, google_resource
from g3m.lab.messages import Asked, Reply, json_reply, redirect
from g3m.lab.storage import Storage


@dataclass(frozen=True, slots=True)
class Account:
    """Who may download: a user name with a key (Basic), and perhaps a token (Bearer)."""

    username: str
    key: str
    token: str | None = None

    def accepts(self, authorization: str) -> bool:
        """Whether an Authorization header is this account's."""
        pair = base64.b64encode(f"{self.username}:{self.key}".encode()).decode()
        valid = [f"Basic {pair}"] + ([f"Bearer {self.token}"] if self.token is not None else [])
        return any(hmac.compare_digest(authorization.encode(), one.encode()) for one in valid)


class Kaggle:
    """One dataset `owner/slug`, which is one archive."""

    def __init__(self, owner_slug: str, file: Path, account: Account, storage: Storage) -> None:
        self._path = f"/api/v1/datasets/download/{owner_slug}"
        self._storage_path = f"/kaggle-data-sets/{owner_slug}/archive.zip"
        self._account = account
        self._storage = storage
        storage.publish(self._storage_path, "Goog", google_resource(file, Digests()))

    def find(self, asked: Asked) -> Reply | None:
        """Answer a request for the dataset's download, None for anything else."""
        if asked.path != self._path:
            return None
        if not self._account.accepts(asked.headers.get("authorization", "")):
            return json_reply(401, {"code": 401, "message": "Unauthenticated"})
        return redirect(302, self._storage.link(self._storage_path))
