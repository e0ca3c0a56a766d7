"""What `g3m index` says."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

INDEX: Mapping[str, Bilingual] = {
    "index-made": (
        "{path}: {samples} samples, shards: {shards}, {size}",
        "{path}：{samples} 个样本，{shards} 个分片，{size}",
    ),
    "index-current": (
        "{path}: is up to date, {samples} samples, shards: {shards}; nothing was read (--force reads again)",
        "{path}：已是最新，{samples} 个样本，{shards} 个分片；未读取任何分片（--force 可全部重新读取）",
    ),
    "index-fields": ("  members: {fields}", "  成员：{fields}"),
    "index-same": ("  it is the same as before, byte for byte", "  与之前逐字节相同"),
    "index-manifest": ("  the counts agree with the manifest", "  样本数与清单一致"),
    "index-left-out": (
        "  left out: {count} {reason} (the first: {first})",
        "  未收录：{count} 个 {reason}（第一个：{first}）",
    ),
    "index-ignored": (
        "  {count} files are hidden or have no extension; no reader takes them for members of a sample",
        "  {count} 个文件是隐藏文件或没有扩展名；任何读取程序都不会将其视为样本成员",
    ),
    "index-repeated": (
        "  {count} samples have the key of an earlier one ({example}): g3m reads all, energon refuses them",
        "  {count} 个样本的键与之前的样本重复（如 {example}）：全部都会读取，但 energon 会拒绝",
    ),
    "index-checked": (
        "{path}: agrees with the names and sizes of the shards ({shards})",
        "{path}：与 {shards} 个分片的名称和大小一致",
    ),
    "index-differs": ("{path}: {shard}: {problem} {detail}", "{path}：{shard}：{problem} {detail}"),
    "catalog-made": (
        "{path}: the catalog has {samples} samples, shards: {shards}, {size}",
        "{path}：样本目录含 {samples} 个样本，{shards} 个分片，{size}",
    ),
    "catalog-current": (
        "{path}: the catalog is up to date: {samples} samples, shards: {shards}, {size}",
        "{path}：样本目录已是最新：{samples} 个样本，{shards} 个分片，{size}",
    ),
    "catalog-read": (
        "  shards read: {read}, no longer there: {forgotten}",
        "  已读取分片：{read}，已移除：{forgotten}",
    ),
    "catalog-decoded": (
        "  shards with every picture decoded now: {decoded}",
        "  本次解码全部图片的分片：{decoded}",
    ),
}
