"""Everything that can go wrong, as one tree.

    G3MError (1)
    ├─ UsageError (2)         RecipeError · SettingsError · UnknownDataset · UnknownCatalog
    ├─ SourceError (5)        Unreachable · Missing · Throttled · Truncated · Changed · Replaced · Refused (4)
    ├─ ContentError (7)       DigestMismatch · BadArchive · NotRecognised · TooManyRejected (3) · NotVerified
    ├─ StorageError (6)       NoSpace · NotWritable · Locked (1) · OtherOptions (2) · NoFullText
    ├─ PartialError (3)       some tasks failed, the others are published
    └─ Interrupted (130)      TimeUp (10)

The number is the exit code. Every class carries a title and a hint in English and Chinese and says
what a retry may hope for. The message itself names the file, the sample, the host and the numbers;
it never holds a secret, because URLs are masked before they get here (core/secrets.py).

Foreign exceptions are mapped to this tree where they enter: in adapters/ and in steps/.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import Any, ClassVar

Bilingual = tuple[str, str]
"""The same sentence in English and in Chinese."""

LANGUAGES = ("en", "zh")


class Advice(Enum):
    """What a retry may hope for after an error."""

    NEVER = "never"
    LATER = "later"
    RESUME = "resume"
    OTHER_PLACE = "other place"


class BadText(ValueError):
    """A text of a user's that means nothing; `both` says what it may be, in English and Chinese."""

    def __init__(self, english: str, chinese: str) -> None:
        super().__init__(english, chinese)
        self.both: Bilingual = (english, chinese)

    def __str__(self) -> str:
        return self.both[0]


class G3MError(Exception):
    """The root of the tree: an error that g3m can explain.

    `message` says what happened and where; `hint` says what to do, in both languages.
    """

    code: ClassVar[str] = "G3M-E100"
    exit_code: int = 1
    advice: ClassVar[Advice] = Advice.NEVER
    title: ClassVar[Bilingual] = ("something went wrong", "出现错误")
    default_hint: ClassVar[Bilingual] = (
        "please report this with the output of `g3m doctor`",
        "请附上 `g3m doctor` 的输出反馈此问题",
    )

    def __init__(self, message: str, *, hint: Bilingual | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint: Bilingual = hint or self.default_hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders (runners); the default protocol would lose the keyword.
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(kind: type[G3MError], message: str, state: dict[str, Any]) -> G3MError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class UsageError(G3MError):
    """The command, the options or a file of the user's own are not right."""

    code = "G3M-E200"
    exit_code = 2
    title = ("that command cannot work", "命令用法有误")
    default_hint = ("see `g3m --help`", "请参阅 `g3m --help`")


class RecipeError(UsageError):
    """A recipe does not say what it must; the message names the file and the key's path."""

    code = "G3M-E210"
    title = ("the recipe is not right", "数据集配方有误")
    default_hint = ("run `g3m recipe check FILE`", "请运行 `g3m recipe check FILE`")


class SettingsError(UsageError):
    """An option, a variable or the config file holds a value that cannot be used."""

    code = "G3M-E220"
    title = ("a setting is not right", "设置有误")
    default_hint = ("correct the value where the message says it stands", "请在提示的位置更正该值")


class UnknownDataset(UsageError):
    """No recipe, group or file has that name."""

    code = "G3M-E230"
    title = ("no such dataset", "没有这个数据集")
    default_hint = ("`g3m list` shows all datasets and groups", "`g3m list` 会列出全部数据集和分组")


class UnknownCatalog(UsageError):
    """There is no catalog of the samples, none that can be read, or it does not have what is asked."""

    code = "G3M-E240"
    title = ("the catalog of the samples is missing, or lacks that", "样本目录不存在，或缺少所需内容")
    default_hint = (
        "`g3m index` makes it (again) from the shards, which stay as they are",
        "运行 `g3m index` 即可由分片（重新）生成；分片不会改变",
    )


class SourceError(G3MError):
    """A place did not deliver."""

    code = "G3M-E500"
    exit_code = 5
    advice = Advice.OTHER_PLACE
    title = ("a source did not deliver", "数据源未能提供文件")
    default_hint = (
        "run the same command again, it continues; `g3m doctor` looks at your network",
        "重新运行同一命令即可续传；`g3m doctor` 可检查网络",
    )


class Unreachable(SourceError):
    """No connection, or it broke: DNS, TCP, TLS, proxy, reset, stall."""

    code = "G3M-E510"
    advice = Advice.RESUME
    title = ("a host cannot be reached", "无法连接到主机")


class Missing(SourceError):
    """The host answered that it has no such file (404, 410)."""

    code = "G3M-E520"
    title = ("the file is not at that place", "该地址没有此文件")


class Refused(SourceError):
    """The host wants credentials or agreement to terms (401, 403)."""

    code = "G3M-E400"
    exit_code = 4
    title = ("sign-in or consent is needed", "需要登录或同意条款")


class Throttled(SourceError):
    """Too many requests, or the service is busy (429, 503); `after_s` is what it asked for."""

    code = "G3M-E530"
    advice = Advice.LATER
    title = ("the host asks to wait", "主机要求稍后再试")

    def __init__(self, message: str, *, after_s: float = 0.0, hint: Bilingual | None = None) -> None:
        super().__init__(message, hint=hint)
        self.after_s = after_s


class Truncated(SourceError):
    """Fewer bytes arrived than were announced."""

    code = "G3M-E540"
    advice = Advice.RESUME
    title = ("the connection ended early", "连接提前中断")


class Changed(SourceError):
    """The answer is not the planned file: other size, other validator, a page, an encoding."""

    code = "G3M-E550"
    title = ("the answer is not the planned file", "返回的内容不是计划中的文件")


class Replaced(SourceError):
    """The file on the server is another version than the one that was begun; what we have is old."""

    code = "G3M-E551"
    title = ("the file on the server was replaced", "服务器上的文件已被替换")


class ContentError(G3MError):
    """Bytes arrived, but they are not what they should be."""

    code = "G3M-E700"
    exit_code = 7
    title = ("the content is not right", "内容有误")
    default_hint = ("run the same command again", "请重新运行同一命令")


class DigestMismatch(ContentError):
    """All bytes arrived and their digest is not the pinned one."""

    code = "G3M-E710"
    advice = Advice.OTHER_PLACE
    title = ("the digest does not match", "校验值不一致")
    default_hint = (
        "the wrong bytes were thrown away; run again, if possible over another mirror or proxy",
        "错误的数据已丢弃；请重新运行，最好换一个镜像或代理",
    )


class BadArchive(ContentError):
    """An archive is cut, contradicts itself or uses a feature that is not supported."""

    code = "G3M-E720"
    title = ("the archive is damaged", "归档文件已损坏")
    default_hint = (
        "delete that file, or leave it out of --from, and run again",
        "请删除该文件（或不要在 --from 中使用它）后重新运行",
    )


class NotRecognised(ContentError):
    """The content has none of the forms that the reader knows."""

    code = "G3M-E730"
    title = ("the form of the data is not recognised", "无法识别数据的形式")
    default_hint = (
        "docs/datasets.md lists the forms that are understood",
        "docs/datasets.md 列出了支持的形式",
    )


class TooManyRejected(ContentError):
    """More samples were rejected than the recipe tolerates."""

    code = "G3M-E300"
    exit_code = 3
    title = ("too many samples were rejected", "被拒绝的样本过多")
    default_hint = (
        "look at the reasons in that list; --max-rejected raises the limit",
        "请查看该列表中的原因；--max-rejected 可放宽限制",
    )


class NotVerified(ContentError):
    """`g3m verify` found something that differs from the manifest."""

    code = "G3M-E740"
    title = ("verification found differences", "校验发现不一致")
    default_hint = (
        "`g3m verify --repair` makes only the broken parts again",
        "`g3m verify --repair` 只会重做损坏的部分",
    )


class StorageError(G3MError):
    """The disk does not allow what is needed."""

    code = "G3M-E600"
    exit_code = 6
    advice = Advice.LATER
    title = ("the disk does not allow it", "磁盘无法完成操作")
    default_hint = (
        "look at the path in the message; what is already there is kept",
        "请检查提示中的路径；已有数据会保留",
    )


class NoSpace(StorageError):
    """Bytes, inodes or quota do not suffice."""

    code = "G3M-E610"
    title = ("not enough disk space", "磁盘空间不足")
    default_hint = (
        "make room or choose another disk with --root, then run the same command again",
        "请清理空间或用 --root 选择其他磁盘，然后重新运行同一命令",
    )


class NotWritable(StorageError):
    """The folder cannot be written."""

    code = "G3M-E620"
    title = ("the folder cannot be written", "目录不可写")
    default_hint = ("choose a folder of your own with --root", "请用 --root 选择自己的目录")


class Locked(StorageError):
    """Another run works on this root."""

    code = "G3M-E630"
    exit_code = 1
    title = ("another run works on this folder", "另一个进程正在使用此目录")
    default_hint = (
        "wait for it, or watch it with `g3m status`",
        "请等待其结束，或用 `g3m status` 查看进度",
    )


class OtherOptions(StorageError):
    """The folder holds the dataset made with other options; published files are never changed."""

    code = "G3M-E640"
    exit_code = 2
    advice = Advice.NEVER
    title = ("the dataset stands here already, made with other options", "此处已有用其他选项制作的数据集")
    default_hint = (
        "choose another --root, or first delete the dataset's folder and .g3m/receipts/DATASET",
        "请换一个 --root，或先删除该数据集目录和 .g3m/receipts/DATASET",
    )


class NoFullText(StorageError):
    """The SQLite of this Python cannot search captions: it was built without FTS5."""

    code = "G3M-E650"
    advice = Advice.NEVER
    title = ("the SQLite of this Python has no full-text search", "此 Python 的 SQLite 不支持全文检索")
    default_hint = (
        "use another Python: those of python.org, conda and distributions have FTS5; the catalog is kept",
        "请换用其他 Python：python.org、conda 和各发行版的 Python 均带有全文检索（FTS5）；样本目录保持不变",
    )


class PartialError(G3MError):
    """Some tasks failed, the others are done and published; `failed` maps task to reason."""

    code = "G3M-E310"
    exit_code = 3
    advice = Advice.LATER
    title = ("not everything is done", "未全部完成")
    default_hint = (
        "run the same command again: only what is missing is tried",
        "重新运行同一命令：只会重试缺失的部分",
    )

    def __init__(
        self, message: str, *, failed: dict[str, str] | None = None, hint: Bilingual | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.failed = failed or {}


class Interrupted(G3MError):
    """A signal asked to stop; everything verified so far is on the disk."""

    code = "G3M-E130"
    exit_code = 130
    advice = Advice.RESUME
    title = ("stopped", "已停止")
    default_hint = ("nothing is lost; run the same command to continue", "没有丢失数据；运行同一命令即可继续")


class TimeUp(Interrupted):
    """The time of `--max-time` is over; everything verified so far is on the disk."""

    code = "G3M-E131"
    exit_code = 10
    title = ("the time is up", "时间已到")
    default_hint = (
        "run the same command to continue; --max-time sets how long it may take",
        "运行同一命令即可继续；--max-time 可设定最长时间",
    )


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def storage_error(error: OSError, path: object) -> StorageError:
    """The error of this tree for a failed write: a full disk, a closed folder, or what the system said."""
    words = f"{path}: {error.strerror or error}"
    if error.errno in _FULL:
        return NoSpace(words)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotWritable(words)
    return StorageError(words)


def all_errors() -> tuple[type[G3MError], ...]:
    """Every class of the tree, the root first; the reference page and the tests read this."""
    found: list[type[G3MError]] = [G3MError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return tuple(found)
