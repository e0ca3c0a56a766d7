"""unfold: an asset's file or folder becomes lists of members, whatever kind of archive it is.

What can be read in place is: members of a zip, of a tar, of a tar that lies uncompressed in a zip.
What is compressed as a whole (tar.gz, a deflated tar, parquet) is inflated once to a spool beside the
parts, so that its members too can be read in any order. Spools go when the dataset is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from g3m.adapters.disk import in_the_making, publish
from g3m.adapters.folder import list_folder
from g3m.adapters.inflate import Inflation
from g3m.adapters.members import MemberReader
from g3m.adapters.output import Output
from g3m.adapters.session import Session
from g3m.adapters.tar import list_tar
from g3m.adapters.zip import list_zip
from g3m.core.errors import BadArchive
from g3m.core.members import Member, Refusal, basename
from g3m.core.plan import asset_id
from g3m.core.receipt import AssetReceipt
from g3m.core.recipe import Asset
from g3m.core.sniff import container
from g3m.steps.find import located

_HEAD_BYTES = 512
_COPY_BYTES = 2**20
_NESTED = (".tar", ".tar.gz", ".tgz", ".zip")


@dataclass(frozen=True, slots=True)
class Holding:
    """A source of members: its name in the sample list, where it lies, and what it holds."""

    source: str
    where: str
    """`asset:ID`, `tree:ID` (an unpacked folder), `tree:ID/file in it` or `spool:FILE`; see `path_of`."""
    path: Path
    members: Iterator[Member | Refusal]


def unfold(
    asset: Asset, receipt: AssetReceipt, session: Session, *, nested: bool = False
) -> Iterator[Holding]:
    """The holdings of an asset; with `nested` also those of archives inside it."""
    path = located(session, asset, receipt)
    unfolder = _Unfolder(asset, session)
    where = f"{'tree' if path.is_dir() else 'asset'}:{asset_id(asset)}"
    for holding in unfolder.open(path, asset.name, where, basename(asset.name)):
        yield from unfolder.descend(holding) if nested else (holding,)


def path_of(where: str, assets: dict[str, tuple[Asset, AssetReceipt]], session: Session) -> Path:
    """The file or folder of a source that an arrangement recorded.

    For `grown:ID` (steps/streamed.py) it is the folder of the growing shards.
    KeyError if the asset has no receipt, or is a folder now where it was a file before.
    """
    kind, _, name = where.partition(":")
    if kind in ("spool", "grown"):
        return session.store.part(name if kind == "spool" else "")
    identifier, _, inner = name.partition("/")
    asset, receipt = assets[identifier]
    if (receipt.proof == "folder") != (kind == "tree"):
        raise KeyError(identifier)
    path = located(session, asset, receipt)
    return path / inner if inner else path


class _Unfolder:
    def __init__(self, asset: Asset, session: Session) -> None:
        self._asset = asset
        self._session = session
        self._spools = 0

    def open(self, path: Path, source: str, where: str, name: str) -> Iterator[Holding]:
        """The holdings of a file by its content."""
        if path.is_dir():
            yield Holding(source, where, path, list_folder(path))
            return
        with open(path, "rb") as file:
            kind = container(file.read(_HEAD_BYTES))
        if kind == "zip":
            yield Holding(source, where, path, list_zip(path))
        elif kind == "tar":
            yield Holding(source, where, path, list_tar(path))
        elif kind == "gzip":
            spool = self._new_spool()
            members = self._inflate(path, spool)
            where = f"spool:{spool.name}"
            if members is not None:
                yield Holding(source, where, spool, iter(members))
                return
            inner = name.removesuffix(".gz") if name.endswith(".gz") else name.removesuffix(".tgz") + ".tar"
            yield from self.open(spool, source, where, inner)
        else:
            size_bytes = path.stat().st_size
            yield Holding(source, where, path, iter([Member(name, "raw", 0, size_bytes, size_bytes)]))

    def descend(self, holding: Holding) -> Iterator[Holding]:
        """The holding without the archives in it, and those as holdings of their own."""
        plain: list[Member | Refusal] = []
        inner: list[Member] = []
        for item in holding.members:
            self._session.check_stop()
            is_archive = isinstance(item, Member) and item.name.lower().endswith(_NESTED)
            (inner if is_archive else plain).append(item)  # type: ignore[arg-type]
        yield Holding(holding.source, holding.where, holding.path, iter(plain))
        for member in inner:
            yield from self._open_member(holding, member)

    def _open_member(self, holding: Holding, member: Member) -> Iterator[Holding]:
        source = f"{holding.source}!{member.name}"
        with MemberReader(holding.path) as reader:
            if member.method == "file":
                yield from self._file_inside(holding, member, source)
                return
            if member.method != "zip-deflated" and member.name.lower().endswith(".tar"):
                offset = reader.data_offset(member)
                members = list_tar(holding.path, offset=offset, size_bytes=member.size_bytes)
                yield Holding(source, holding.where, holding.path, members)
                return
            spool = self._new_spool()
            self._copy(reader, member, spool)
        yield from self.open(spool, source, f"spool:{spool.name}", basename(member.name))

    def _file_inside(self, holding: Holding, member: Member, source: str) -> Iterator[Holding]:
        """An archive that lies in a folder of the user's: read in place through the folder's source."""
        path = holding.path / member.name
        for inner in self.open(path, source, "", basename(member.name)):
            if inner.where:
                yield inner
            else:
                yield Holding(source, f"{holding.where}/{member.name}", path, inner.members)

    def _new_spool(self) -> Path:
        """A name for one more spool, which takes the place of an earlier one whole: its readers go on."""
        spool = self._session.store.part(f"{asset_id(self._asset)}-{self._spools}.spool")
        self._spools += 1
        return spool

    def _inflate(self, path: Path, spool: Path) -> list[Member | Refusal] | None:
        """Unpack a gzip to a spool. What is in it, listed meanwhile, if that is a tar.

        Nothing is handed out before the gzip is whole, sound and on the disk: a tar has no checksums.
        """
        free_bytes = self._session.store.free().size_bytes
        progress: Callable[[int], None] = lambda _: self._session.check_stop()  # noqa: E731
        members, making = None, in_the_making(spool)
        with Inflation(path, making, room_bytes=free_bytes, progress=progress) as inflation:
            inflation.reach(_HEAD_BYTES)
            with open(making, "rb") as file:
                is_tar = container(file.read(_HEAD_BYTES)) == "tar"
            if is_tar:
                try:
                    members = list(list_tar(making, reach=inflation.reach))
                except BadArchive:
                    inflation.finish()  # where the gzip is damaged, that is the better explanation
                    raise
            inflation.finish()
        publish(making, spool)
        return members

    def _copy(self, reader: MemberReader, member: Member, spool: Path) -> None:
        """Unpack a member to a spool."""
        making = in_the_making(spool)
        output = Output(making)
        try:
            with reader.open(member) as source:
                while data := source.read(_COPY_BYTES):
                    self._session.check_stop()
                    output.write(data)
            output.close()
        except BaseException:
            output.abort()
            raise
        publish(making, spool)
