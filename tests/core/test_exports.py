"""core/exports.py: lists for other programs are well formed whatever the names are, and hold no secret."""

from __future__ import annotations

import shlex
import subprocess
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.digest import Digest
from g3m.core.exports import FORMATS, Download, aria2, curl_script, downloads, metalink
from g3m.core.plan import Plan, asset_id, make_dataset_plan
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule

SHA, MD5, GIT = Digest("sha256", "a" * 64), Digest("md5", "b" * 32), Digest("git-sha1", "c" * 40)
NS = "{urn:ietf:params:xml:ns:metalink}"


def file(
    name: str = "a.zip",
    *,
    size: int | None = 7,
    digests: tuple[Digest, ...] = (SHA, MD5),
    urls: tuple[str, ...] = ("https://one/a", "http://two/a"),
) -> Download:
    return Download(name=name, size_bytes=size, digests=digests, urls=urls)


def plan_of(*groups: tuple[Asset, ...]) -> Plan:
    sets = []
    for number, assets in enumerate(groups):
        recipe = Recipe(
            name=f"set{number}",
            title="t",
            folder=f"set{number}",
            homepage="",
            licence="none",
            terms="",
            citation="",
            samples=SampleRule(reader="pairs"),
            expect=Expect(),
            assets=assets,
        )
        sets.append(make_dataset_plan(recipe, assets, "none"))
    return Plan(datasets=tuple(sets))


def test_metalink_says_size_hashes_and_places_in_order() -> None:
    """RFC 5854: name, size, hashes by IANA's names, URLs with the first place first."""
    found = ET.fromstring(metalink([file(digests=(SHA, MD5, GIT))]).encode())
    one = found.find(f"{NS}file")
    assert found.tag == f"{NS}metalink"
    assert one is not None
    assert one.get("name") == "a.zip"
    assert one.findtext(f"{NS}size") == "7"
    assert {item.get("type"): item.text for item in one.findall(f"{NS}hash")} == {
        "sha-256": "a" * 64,
        "md5": "b" * 32,
    }
    assert [(item.get("priority"), item.text) for item in one.findall(f"{NS}url")] == [
        ("1", "https://one/a"),
        ("2", "http://two/a"),
    ]


def test_what_is_not_known_is_left_out() -> None:
    """Without a size and a digest that others know, none is written."""
    unknown = file(size=None, digests=(GIT,))
    assert "<size>" not in metalink([unknown])
    assert "<hash" not in metalink([unknown])
    assert "checksum=" not in aria2([unknown])
    script = curl_script([unknown])
    assert "fetch a.zip - " in script
    assert "sum -c" not in script


def test_aria2_has_all_places_on_one_line() -> None:
    """A line of URLs, then the options, indented."""
    lines = [line for line in aria2([file()]).splitlines() if not line.startswith("#")]
    assert lines == ["https://one/a\thttp://two/a", "  out=a.zip", f"  checksum=sha-256={'a' * 64}"]


@given(
    st.lists(
        st.text("a'\"$`\\;&|<>()*?[]#~!%=:/.,-_ \t0", min_size=1).map(lambda text: f"https://h/{text}"),
        min_size=1,
        max_size=4,
    )
)
def test_the_shell_sees_each_address_as_one_word(urls: list[str]) -> None:
    """Quoted for sh: what an address holds is never run, split or expanded."""
    script = curl_script([file(urls=tuple(urls))])
    call = script[script.index("\nfetch a.zip") + 1 :].partition('\n[ "$failed"')[0]
    done = subprocess.run(
        ["sh", "-c", f"fetch() {{ printf '%s\\n' \"$@\"; }}\n{call}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["a.zip", "7", *urls]
    assert shlex.split(call.replace("\\\n", "")) == ["fetch", "a.zip", "7", *urls]


def test_the_script_is_good_sh() -> None:
    """sh accepts it, and the list behind it is one that sha256sum reads, one for each algorithm."""
    script = curl_script([file("a.zip"), file("b.zip", digests=(MD5,))])
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    assert f"sha256sum -c <<'SUMS' || failed=1\n{'a' * 64}  a.zip\nSUMS\n" in script
    assert f"md5sum -c <<'SUMS' || failed=1\n{'b' * 32}  b.zip\nSUMS\n" in script


def test_each_file_is_fetched_once_and_what_is_here_is_left_out() -> None:
    """An asset of two datasets is one download; ids that are done are none."""
    shared = Asset(name="a.zip", places=("https://h/a",), size_bytes=1, digests=(SHA,))
    other = Asset(name="b.zip", places=("https://h/b",), size_bytes=1, digests=(MD5,))
    plan = plan_of((shared, other), (shared,))
    assert [one.name for one in downloads(plan, lambda asset: asset.places)] == ["a.zip", "b.zip"]
    assert [one.name for one in downloads(plan, lambda a: a.places, [asset_id(shared)])] == ["b.zip"]


def test_two_files_of_one_name_get_two_names() -> None:
    """No file overwrites another, and a name with a folder or a sign in it becomes a plain one."""
    assets = (
        Asset(name="a.zip", places=("https://h/1",), digests=(SHA,)),
        Asset(name="a.zip", places=("https://h/2",), digests=(MD5,)),
        Asset(name="../x/-y z.tar", places=("https://h/3",), digests=(GIT,)),
        Asset(name="-rf", places=("https://h/4",)),
    )
    found = [one.name for one in downloads(plan_of(assets), lambda asset: asset.places)]
    assert found == [f"{asset_id(assets[0])}-a.zip", f"{asset_id(assets[1])}-a.zip", "_x_-y_z.tar", "rf"]


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@h/a",
        "https://h/a?X-Amz-Signature=s3cret",
        "https://h/a?s3cret",
        "https://h/a#s3cret",
        "https://h/s3cret\nout=/etc/passwd",
        "https://h/s3cret\tb",
        "https://h/s3cret b",
        "https://h/s3crét",
        "https://[s3cret/a",
    ],
)
def test_an_address_with_a_secret_is_not_written(url: str) -> None:
    """Logins, signatures and whatever breaks a line stay out of every list; the good places stay in."""
    asset = Asset(name="a.zip", places=(url, "https://good/a"), digests=(SHA,))
    found = downloads(plan_of((asset,)), lambda one: one.places)
    assert found[0].urls == ("https://good/a",)
    for write in FORMATS.values():
        assert "s3cret" not in write(found)


def test_xml_is_escaped() -> None:
    """An ampersand in an address is one in the document that is read."""
    url = "https://h/a&b;<c>'\""
    found = ET.fromstring(metalink([file(name='a&b".zip', urls=(url,))]).encode())
    assert found.findtext(f"{NS}file/{NS}url") == url
    one = found.find(f"{NS}file")
    assert one is not None
    assert one.get("name") == 'a&b".zip'


def test_the_forms_of_a_list_of_downloads() -> None:
    """Three, by name."""
    assert {"metalink": metalink, "aria2": aria2, "curl": curl_script} == FORMATS
