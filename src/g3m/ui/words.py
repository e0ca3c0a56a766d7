"""What g3m says to people, in English and Chinese, side by side so that neither falls behind.

Names of files, datasets and commands are the same in both. JSON output and log files stay English.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from g3m.core.errors import Bilingual, G3MError
from g3m.ui.words_deep import DEEP
from g3m.ui.words_drop import DROP
from g3m.ui.words_export import EXPORT
from g3m.ui.words_gather import GATHER
from g3m.ui.words_index import INDEX
from g3m.ui.words_network import NETWORK
from g3m.ui.words_policy import POLICY
from g3m.ui.words_proxy import PROXY
from g3m.ui.words_search import SEARCH
from g3m.ui.words_share import SHARE
from g3m.ui.words_stats import STATS
from g3m.ui.words_view import VIEW

_RUN: Mapping[str, Bilingual] = {
    "error": ("error", "错误"),
    "try": ("Try", "建议"),
    "proceed": ("Proceed?", "是否继续？"),
    "declined": ("Nothing was fetched.", "未下载任何内容。"),
    "terms": ("Terms of {name} ({licence})", "{name} 的使用条款（{licence}）"),
    "terms-voluntary": (
        "Going on means that you have read the terms above and use the data within them.",
        "继续即表示您已阅读以上条款，并在其允许范围内使用数据。",
    ),
    "stopping": (
        "Stopping … (press Ctrl-C again to stop at once; nothing is lost either way)",
        "正在停止……（再按一次 Ctrl-C 立即退出；两种方式都不会丢失数据）",
    ),
    "time-up": (
        "The {limit} of --max-time are over: stopping … (nothing is lost)",
        "已到 --max-time 设定的 {limit}：正在停止……（不会丢失数据）",
    ),
    "stopped": ("Stopped{at}. Nothing is lost. Continue with:", "已停止{at}。没有丢失数据。继续请运行："),
    "stopped-at": (" at {done} of {total}", "，已完成 {done} / {total}"),
    "done": (
        "{name}: {samples} samples, {size}, shards: {shards}, in {folder}",
        "{name}：{samples} 个样本，{shards} 个分片，{size}，位于 {folder}",
    ),
    "left-out": ("  left out: {reasons} (see {path})", "  未收录：{reasons}（见 {path}）"),
    "expected": (
        "  the source states {expected} samples: {source}",
        "  数据源声明有 {expected} 个样本：{source}",
    ),
    "nothing-to-do": ("Everything is here already; nothing was done.", "所有内容均已就绪，无需操作。"),
    "verified": ("{name}: agrees with the manifest, shards: {shards}", "{name}：{shards} 个分片与清单一致"),
    "verify-found": ("{name}/{shard}: {problem} {detail}", "{name}/{shard}：{problem} {detail}"),
    "repaired": ("{name}/{shard}: made again ({problem})", "{name}/{shard}：已重做（{problem}）"),
    "verify-nothing": ("No dataset is under {root}.", "{root} 下没有数据集。"),
    "plan-total": (
        "total: {download} to fetch, {left} of it not here yet; at {speed}/s ({since}) that takes {time}",
        "合计：需下载 {download}，其中 {left} 尚未就绪；按 {speed}/s（{since}）约需 {time}",
    ),
    "plan-assumed": ("assumed: nothing was measured here yet", "假定值：尚未测量"),
    "plan-measured": ("measured {age} ago", "{age}前测得"),
    "plan-disk": (
        "disk: {final} in the end, {peak} at most on the way; {free} free at {root}{inodes}",
        "磁盘：最终占用 {final}，过程中最多 {peak}；{root} 可用 {free}{inodes}",
    ),
    "plan-inodes": (", {count} inodes free", "，可用 inode {count} 个"),
    "plan-short": ("not enough: {missing} are missing", "空间不足：还差 {missing}"),
    "plan-estimated": (
        "~ means: the recipe's figure, because the hub's listing could not be asked for",
        "~ 表示：无法获取 Hub 列表，使用配方中的估计值",
    ),
    "packing-gathered": (
        "each picture comes from its own URL; how many still answer, and their size, is not known before",
        "每张图片从各自的 URL 下载；事先无法知道有多少仍可访问，也不知道总大小",
    ),
    "packing-renamed": ("ready shards are checked and renamed", "现成分片，校验后改名"),
    "packing-found": ("how it is packed is known when its content is", "打包方式取决于内容，下载后才知道"),
    "packing-streamed": (
        "packed while it comes in; the archive never lies on the disk whole",
        "边下载边打包；归档不会完整地存在磁盘上",
    ),
    "packing-spooled": (
        "inflated once to a spool of about its size, and packed from there (--stream needs less room)",
        "先解压一次到大小相近的临时文件，再从中打包（--stream 占用更少）",
    ),
    "packing-in-place": (
        "pictures are read from the zip where they lie, in the order of the shards; nothing is extracted",
        "按分片顺序直接从 zip 中读取图片，不解压到磁盘",
    ),
    "plan-peak": (
        "Fetched archives are deleted once their shards are published; --keep-assets keeps them.",
        "分片发布后会删除下载的归档文件；--keep-assets 可保留。",
    ),
    "demo-torch": (
        "with `pip install torch`, g3m.loader makes tensors of it",
        "安装 torch（pip install torch）后，g3m.loader 会把它变成张量",
    ),
    "demo-next": ("Next: g3m plan g3m eval", "下一步：g3m plan g3m eval"),
    "state-done": ("done", "完成"),
    "state-part": ("begun", "进行中"),
    "state-none": ("-", "-"),
    "running-by": ("A run is at work: process {pid} on {host}.", "有任务正在运行：{host} 上的进程 {pid}。"),
    "running-not": ("No run is at work on {root}.", "{root} 上没有正在运行的任务。"),
    "watching": (
        "Watching process {pid} on {host}; Ctrl-C ends the watching, not the run.",
        "正在查看 {host} 上的进程 {pid}；Ctrl-C 只结束查看，不会停止任务。",
    ),
    "watch-end": (
        "The run ended: {done} of {tasks} tasks done, {failed} failed, {samples} samples.",
        "任务已结束：{tasks} 项中完成 {done} 项，失败 {failed} 项，共 {samples} 个样本。",
    ),
    "watch-gone": (
        "Process {pid} on {host} ended without a word, as after a kill. Run its command again to continue.",
        "{host} 上的进程 {pid} 未作说明即已结束（例如被强制终止）。重新运行同一命令即可继续。",
    ),
    "last-line": ("Last line of the log: {line}", "日志最后一行：{line}"),
    "recipe-good": ("{path}: a good recipe", "{path}：配方正确"),
    "no-recipe": (
        "{name}: its recipe is not among the known ones; name the recipe's file",
        "{name}：未找到其配方；请指定配方文件",
    ),
    "no-citation": ("{name}: the recipe names no citation", "{name}：配方未提供引用信息"),
    "doctor-token-hub": ("Hugging Face token", "Hugging Face 令牌"),
    "doctor-token-kaggle": ("Kaggle credentials", "Kaggle 凭据"),
    "doctor-present": ("present, sent to {hosts} only", "已找到，仅发送给 {hosts}"),
    "doctor-absent": (
        "none found (needed only for private or consent-gated data)",
        "未找到（仅私有或需同意条款的数据需要）",
    ),
    "doctor-absent-kaggle": (
        "none found (if sbu asks for an account: KAGGLE_API_TOKEN, or kaggle.json in ~/.kaggle)",
        "未找到（若 sbu 要求登录：设置 KAGGLE_API_TOKEN，或将 kaggle.json 放入 ~/.kaggle）",
    ),
}

WORDS: Mapping[str, Bilingual] = {
    **_RUN,
    **DEEP,
    **DROP,
    **EXPORT,
    **GATHER,
    **INDEX,
    **NETWORK,
    **POLICY,
    **PROXY,
    **SEARCH,
    **SHARE,
    **STATS,
    **VIEW,
}


class Speaker:
    """Says things in one language."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self._column = 1 if lang == "zh" else 0

    def say(self, key: str, **values: object) -> str:
        """The sentence behind a key."""
        return WORDS[key][self._column].format(**values)

    def pick(self, both: Bilingual) -> str:
        """One of two given sentences."""
        return both[self._column]

    def error(self, error: G3MError) -> str:
        """An error with its code, what happened, and what to do."""
        head = f"{self.say('error')} {error.code}: {self.pick(error.title)}"
        body = "\n".join(f"  {line}" for line in printable(error.message).splitlines())
        return f"{head}\n{body}\n{self.say('try')}: {self.pick(error.hint)}"


_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Text from a stranger without what a terminal would obey: control characters become `?`."""
    return _CONTROL.sub("?", text)


def language(setting: str, variables: Mapping[str, str]) -> str:
    """`en` or `zh`: the setting, or the locale's language."""
    if setting:
        return setting
    locale = variables.get("LC_ALL") or variables.get("LC_MESSAGES") or variables.get("LANG") or ""
    return "zh" if locale.lower().startswith("zh") else "en"
