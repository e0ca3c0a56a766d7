"""Kaggle: credentials on its own host only, then a signed link to its storage."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from g3m.lab.origin import Origin

Fetch = Callable[..., Any]
Credentials = dict[str, str]


@pytest.fixture
def download(origin: Origin, blob: Path) -> str:
    """The address of a dataset's archive."""
    origin.kaggle("owner/slug", blob, "me", "key", token="KGAT_right")
    return f"{origin.url}/api/v1/datasets/download/owner/slug"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer KGAT_wrong"},
        {"Authorization": "Basic " + base64.b64encode(b"me:wrong").decode()},
        {"Authorization": "me:key"},
    ],
)
def test_strangers_get_401(download: str, headers: Credentials) -> None:
    """Without valid credentials there is a JSON refusal and no link."""
    answer = requests.get(download, headers=headers, timeout=30, allow_redirects=False)
    assert (answer.status_code, answer.json()["code"]) == (401, 401)
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    "authorization", ["Bearer KGAT_right", "Basic " + base64.b64encode(b"me:key").decode()]
)
def test_the_account_gets_a_signed_link(
    origin: Origin, download: str, blob: Path, fetch: Fetch, authorization: str
) -> None:
    """Key or token both lead to the storage host, which serves ranges and states the MD5."""
    answer = fetch(download, Authorization=authorization)
    location = answer.headers["location"]
    assert answer.status == 302
    assert location.startswith(f"{origin.storage_url}/kaggle-data-sets/")
    assert "X-Goog-Expires=3600" in location and "X-Goog-Signature=" in location
    part = fetch(location, Range="bytes=10-19")
    assert (part.status, part.body) == (206, blob.read_bytes()[10:20])
    md5 = base64.b64encode(hashlib.md5(blob.read_bytes()).digest()).decode()
    assert part.headers["x-goog-hash"] == f"md5={md5}"
    assert fetch(location, Range="bytes=10-19", If_Range=part.headers["etag"]).status == 206


def test_storage_refuses_the_credentials(download: str, fetch: Fetch) -> None:
    """The link is refused with 400 if the credentials come along, and serves without them."""
    location = fetch(download, Authorization="Bearer KGAT_right").headers["location"]
    assert fetch(location, Authorization="Bearer KGAT_right").status == 400
    assert fetch(location).status == 200


def test_an_expired_link_says_so(origin: Origin, download: str, fetch: Fetch) -> None:
    """After its life a link is refused as Google storage words it."""
    location = fetch(download, Authorization="Bearer KGAT_right").headers["location"]
    origin.expire_links()
    answer = fetch(location)
    assert answer.status == 403
    assert b"<Code>ExpiredToken</Code>" in answer.body


def test_other_datasets_do_not_exist(origin: Origin, fetch: Fetch) -> None:
    """A path that is nobody's is 404."""
    assert fetch(f"{origin.url}/api/v1/datasets/download/owner/other").status == 404
