"""The sentences of `g3m drop`; see ui/words.py."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

DROP: Mapping[str, Bilingual] = {
    "drop-found": (
        "{name}: {new} dropped, {before} were dropped before",
        "{name}：移除 {new} 个，之前已移除 {before} 个",
    ),
    "drop-would": (
        "{name}: {new} would be dropped, {before} were dropped before",
        "{name}：将移除 {new} 个，之前已移除 {before} 个",
    ),
    "drop-none": (
        "No entry matches a sample of: {names}",
        "以下数据集中没有样本与列表匹配：{names}",
    ),
    "drop-unmatched": (
        "{count} of {entries} entries matched nothing, for example {examples}",
        "{entries} 条中有 {count} 条没有匹配，例如 {examples}",
    ),
    "drop-kept": (
        "The shards still hold these samples; nobody is shown them. `g3m drop --rewrite` removes them.",
        "分片中仍含有这些样本，但不会再被任何人读取。`g3m drop --rewrite` 可将其彻底删除。",
    ),
    "drop-rewritten": (
        "{name}: shards written anew: {shards}, {samples} samples gone, {size} less",
        "{name}：重写 {shards} 个分片，删除 {samples} 个样本，减少 {size}",
    ),
    "drop-current": (
        "{name}: no shard holds a dropped sample",
        "{name}：分片中没有已移除的样本",
    ),
    "drop-failed": (
        "{name}: its shards were not written anew: {reason}",
        "{name}：分片未能重写：{reason}",
    ),
    "drop-removed": (
        "  removed with them, because they hold the same samples: {files}",
        "  同时删除了含有这些样本的文件：{files}",
    ),
    "drop-listed": (
        "{name}: {count} dropped, {gone} of them are gone from the shards",
        "{name}：已移除 {count} 个，其中 {gone} 个已从分片中删除",
    ),
    "drop-entry": ("  {sample}  {reason}  ({source}){gone}", "  {sample}  {reason}  （{source}）{gone}"),
    "drop-gone": (" gone", " 已删除"),
    "drop-more": ("  and {count} more; all are in {path}", "  另有 {count} 个；全部见 {path}"),
    "drop-nothing": ("Nothing was dropped.", "没有移除任何样本。"),
}
