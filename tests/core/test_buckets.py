"""core/buckets.py: addresses of buckets, and how they are asked."""

from __future__ import annotations

import pytest

from g3m.core.buckets import Access, Bucket, access, is_plain, parse_bucket
from g3m.core.errors import SettingsError, UsageError
from g3m.core.secrets import Secret

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hidden"}


def how(variables: dict[str, str], profile: dict[str, str] | None = None, *, role: bool = False) -> Access:
    return access(Bucket("mine", "a"), variables, profile or {}, host_role=role)


@pytest.mark.parametrize(
    ("text", "name", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://my.bucket-1/a/b/", "my.bucket-1", "a/b"),
        ("s3://bucket/a b/ü", "bucket", "a b/ü"),
    ],
)
def test_addresses(text: str, name: str, prefix: str) -> None:
    """A bucket, and what follows it without slashes at the ends."""
    bucket = parse_bucket(text)
    assert (bucket.name, bucket.prefix) == (name, prefix)
    assert parse_bucket(bucket.address) == bucket


@pytest.mark.parametrize(
    "text",
    [
        "data/mine",
        "https://bucket/a",
        "s3://",
        "s3:///a",
        "s3://Bucket/a",
        "s3://key:word@bucket/a",
        "s3://bucket/../a",
        "s3://bucket/a//b",
        "s3://bucket/./a",
        "s3://bucket/a\nb",
        "s3://bucket/a\\b",
        "s3://bucket/a?versionId=1",
        "s3://bucket/a#b",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """Everything else is refused, and a login in it is not shown."""
    with pytest.raises(UsageError) as error:
        parse_bucket(text)
    assert "word" not in error.value.message


@pytest.mark.parametrize("name", ["..", "a/../b", "/a", "a/", "a//b", "a\\b", "a\x00", "a\nb", "."])
def test_names_that_lead_out(name: str) -> None:
    """A name is plain if a folder on the disk can hold it."""
    assert not is_plain(name)


def test_variables_go_before_the_profile() -> None:
    """Keys come whole from one place, and the endpoint for S3 before the general one."""
    profile = {"aws_access_key_id": "p", "aws_secret_access_key": "q", "aws_session_token": "r",
        "region": "eu-1", "endpoint_url": "https://profile.example"}  # fmt: skip
    from_profile = how({}, profile)
    assert from_profile.key_id is not None
    assert from_profile.token is not None
    assert (from_profile.key_id.reveal(), from_profile.token.reveal()) == ("p", "r")
    assert (from_profile.region, from_profile.endpoint) == ("eu-1", "https://profile.example")
    both = how({**KEYS, "AWS_DEFAULT_REGION": "cn-1", "AWS_ENDPOINT_URL": "https://a.example",
        "AWS_ENDPOINT_URL_S3": "https://b.example/"}, profile)  # fmt: skip
    assert both.key_id is not None
    assert both.key_id.reveal() == "key"
    assert both.token is None
    assert (both.region, both.endpoint) == ("cn-1", "https://b.example")


def test_who_signs() -> None:
    """Keys sign, so do roles; nobody's requests are not signed, nor half a pair of keys."""
    assert how(KEYS).signed
    assert how({"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"}).signed
    assert how({}, role=True).signed
    assert not how({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, role=True).signed
    assert not how({}).signed
    assert not how({"AWS_ACCESS_KEY_ID": "key"}).signed


def test_where_the_bucket_stands() -> None:
    """In the path, unless the endpoint holds it, is known to want it in the host, or a variable says so."""

    def asked(endpoint: str, **variables: str) -> tuple[str, bool]:
        found = how({"AWS_ENDPOINT_URL": endpoint, **variables})
        return found.endpoint, found.virtual_host

    assert asked("http://127.0.0.1:9000") == ("http://127.0.0.1:9000", False)
    assert asked("https://mine.store.example") == ("https://mine.store.example", True)
    oss = "https://mine.oss-cn-hangzhou.aliyuncs.com"
    assert asked("https://oss-cn-hangzhou.aliyuncs.com") == asked(oss) == (oss, True)
    told = asked("https://store.example:8443", AWS_VIRTUAL_HOSTED_STYLE_REQUEST="true")
    assert told == ("https://mine.store.example:8443", True)
    assert how({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}).plain_http
    assert not how({}).plain_http


@pytest.mark.parametrize(
    "endpoint",
    ["127.0.0.1:9000", "ftp://a", "https://me:word@a", "https://a/path", "https://a?b", "https://["],
)
def test_endpoints_that_are_none(endpoint: str) -> None:
    """An endpoint is a host with http or https, and no login is shown."""
    with pytest.raises(SettingsError) as error:
        how({"AWS_ENDPOINT_URL": endpoint})
    assert "word" not in error.value.message


def test_nothing_shows_the_keys() -> None:
    """Neither printing nor an error of the dataclass tells them."""
    assert "hidden" not in repr(how(KEYS))
    assert "key'" not in repr(how(KEYS))


def test_how_long_the_name_of_a_bucket_is() -> None:
    """From 3 to 63 letters, with a letter or digit at both ends."""
    for name in ("abc", "a" * 63, "a.b-c_9"):
        assert parse_bucket(f"s3://{name}/x").name == name
    for name in ("ab", "a" * 64, "-bc", "ab-", "a", ""):
        with pytest.raises(UsageError):
            parse_bucket(f"s3://{name}/x")


def test_access_is_shown_without_what_it_holds() -> None:
    """Neither keys nor their stars: whether a machine has keys is nobody's business."""
    key = Secret("QXZ")
    assert repr(Access(key_id=key, secret=key, token=key)) == repr(Access())
    assert "***" not in repr(Access(key_id=key, secret=key, token=key))
