"""Where a bucket is and how it is asked: from its address, the standard variables and one's AWS profile.

Pure: files and the environment come as mappings. No request is made here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from g3m.core.errors import SettingsError, UsageError
from g3m.core.secrets import Secret, mask

SCHEME = "s3://"
DEFAULT_REGION = "us-east-1"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_ADDRESS = ("write s3://BUCKET/PATH", "请写成 s3://桶/路径")

VIRTUAL_HOSTS = (".aliyuncs.com", ".myqcloud.com", ".volces.com")
"""Ends of endpoints that want the bucket in front of the host: they refuse it in the path."""

_ROLES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and the folder in it that is meant; the prefix has no slash at its ends."""

    name: str
    prefix: str = ""

    @property
    def address(self) -> str:
        return f"{SCHEME}{self.name}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a bucket is asked. `endpoint` is empty for AWS itself; `signed` false: as anybody."""

    endpoint: str = ""
    region: str = DEFAULT_REGION
    virtual_host: bool = False
    signed: bool = False
    key_id: Secret | None = field(default=None, repr=False)
    secret: Secret | None = field(default=None, repr=False)
    token: Secret | None = field(default=None, repr=False)

    @property
    def plain_http(self) -> bool:
        return self.endpoint.startswith("http://")


def is_bucket(text: str) -> bool:
    """Whether an address names a bucket.

    >>> is_bucket("s3://bucket/lists/"), is_bucket("data/mine")
    (True, False)
    """
    return text.startswith(SCHEME)


def parse_bucket(text: str) -> Bucket:
    """The bucket and the prefix of an address; UsageError if it is none.

    >>> parse_bucket("s3://bucket/data/mine/")
    Bucket(name='bucket', prefix='data/mine')
    """
    name, _, prefix = text.removeprefix(SCHEME).partition("/")
    if not is_bucket(text) or not _BUCKET.fullmatch(name):
        raise UsageError(f"{mask(text)}: no address of a bucket", hint=_ADDRESS)
    prefix = prefix.strip("/")
    if prefix and not is_plain(prefix):
        raise UsageError(f"{mask(text)}: a path with a part that no object can have", hint=_ADDRESS)
    if "?" in prefix or "#" in prefix:
        raise UsageError(f"{mask(text)}: an address of a bucket has no ? and no #", hint=_ADDRESS)
    return Bucket(name, prefix)


def is_plain(name: str) -> bool:
    """Whether an object's name is a path that stays below its folder.

    >>> is_plain("lists/a.parquet"), is_plain("../a"), is_plain("a//b")
    (True, False, False)
    """
    plain = name.isprintable() and "\\" not in name
    return plain and not any(part in ("", ".", "..") for part in name.split("/"))


def access(
    bucket: Bucket, variables: Mapping[str, str], profile: Mapping[str, str], *, host_role: bool
) -> Access:
    """How to ask for a bucket: variables first, then the profile; SettingsError for an endpoint that is none.

    `host_role`: this machine has credentials of its own (an instance of AWS).
    """
    endpoint = _first(variables, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") or profile.get("endpoint_url", "")
    region = _first(variables, "AWS_REGION", "AWS_DEFAULT_REGION") or profile.get("region", DEFAULT_REGION)
    key_id, secret, token = _keys(variables, profile)
    role = any(variables.get(name) for name in _ROLES) or (host_role and not endpoint)
    virtual = variables.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() == "true"
    if endpoint:
        endpoint, virtual = _endpoint(endpoint, bucket.name, virtual=virtual)
    return Access(
        endpoint=endpoint,
        region=region,
        virtual_host=virtual,
        signed=bool(key_id) or role,
        key_id=Secret(key_id) if key_id else None,
        secret=Secret(secret) if key_id else None,
        token=Secret(token) if key_id and token else None,
    )


def _first(variables: Mapping[str, str], *names: str) -> str:
    return next((variables[name] for name in names if variables.get(name)), "")


def _keys(variables: Mapping[str, str], profile: Mapping[str, str]) -> tuple[str, str, str]:
    """Key id, secret and session token, all of one origin."""
    if variables.get("AWS_ACCESS_KEY_ID") and variables.get("AWS_SECRET_ACCESS_KEY"):
        token = variables.get("AWS_SESSION_TOKEN", "")
        return variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], token
    if profile.get("aws_access_key_id") and profile.get("aws_secret_access_key"):
        token = profile.get("aws_session_token", "")
        return profile["aws_access_key_id"], profile["aws_secret_access_key"], token
    return "", "", ""


def _endpoint(text: str, bucket: str, *, virtual: bool) -> tuple[str, bool]:
    """The endpoint as it is asked, and whether the bucket stands in its host."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        host = parts.hostname or ""
    except ValueError:
        good, host = False, ""
    if not good or parts.query or parts.fragment or parts.path.strip("/"):
        raise SettingsError(f"AWS_ENDPOINT_URL: {mask(text)} is no plain web address of a host")
    if host.startswith(f"{bucket}."):
        return f"{parts.scheme}://{parts.netloc}", True
    if virtual or host.endswith(VIRTUAL_HOSTS):
        return f"{parts.scheme}://{bucket}.{parts.netloc}", True
    return f"{parts.scheme}://{parts.netloc}", False
