"""The sentences of `g3m stats`; see ui/words.py."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

STATS: Mapping[str, Bilingual] = {
    "stats-head": (
        "{names}: {samples} samples, shards: {shards}",
        "{names}：{samples} 个样本，{shards} 个分片",
    ),
    "stats-looked": (
        "pictures decoded: {looked}; with the bytes of an earlier one: {same}, and nearly so: {near}",
        "已解码图片：{looked}；其中 {same} 张与之前某张逐字节相同，{near} 张与之前某张相似",
    ),
    "stats-older": (
        "what is alike was noted before the pictures changed: `g3m index --pictures` compares them again",
        "图片有变动，上述相似关系已过时：运行 `g3m index --pictures` 重新比较",
    ),
    "stats-not-looked": (
        "duplicates and unreadable pictures are not known yet: `g3m index --pictures` decodes the pictures",
        "重复和无法读取的图片尚不清楚：运行 `g3m index --pictures` 解码图片",
    ),
    "stats-part-looked": (
        "of the others no picture was decoded yet: `g3m index --pictures` goes on",
        "其余图片尚未解码：运行 `g3m index --pictures` 继续",
    ),
    "stats-more": ("{count} more", "另有 {count} 项"),
    "chart-words": ("caption, words", "标题词数"),
    "chart-letters": ("caption, characters", "标题字符数"),
    "chart-width": ("width, pixels", "宽度（像素）"),
    "chart-height": ("height, pixels", "高度（像素）"),
    "chart-aspect": ("width by height", "宽高比"),
    "chart-bytes": ("picture, bytes", "图片字节数"),
    "chart-format": ("format", "格式"),
    "chart-host": ("most frequent hosts", "最常见的来源主机"),
    "chart-flag": ("findings", "检查结果"),
    "chart-word": ("most frequent words", "最常见的词"),
    "leaks-head": (
        "{name}: {hit} of {looked} pictures are also in other datasets",
        "{name}：{looked} 张图片中有 {hit} 张也出现在其他数据集中",
    ),
    "leaks-none": (
        "{name}: none of its {looked} pictures was found in the other datasets",
        "{name}：{looked} 张图片均未在其他数据集中找到",
    ),
    "leaks-row": (
        "  {dataset}: same bytes {exact}, nearly the same {near}, perhaps {unsure} (of {searched})",
        "  {dataset}：{exact} 张逐字节相同，{near} 张几乎相同，{unsure} 张疑似（共 {searched} 张）",
    ),
    "leaks-near": (
        (
            "nearly the same: one photograph encoded or scaled anew, or with little cut off (at most {bits}\n"
            "of 128 bits of the hashes differ, and small grey pictures correlate by {correlation} or more).\n"
            "What is cropped by more, mirrored or painted over is mostly not found."
        ),
        (
            "几乎相同：同一照片经重新编码、缩放或轻微裁切（128 位哈希中至多 {bits} 位不同，\n"
            "且灰度小图的相关系数不低于 {correlation}）。裁切较多、镜像或涂改过的大多无法发现。"
        ),
    ),
    "leaks-unsure": (
        "perhaps: alike by hash, but not compared a second time (unreadable now, or too many)",
        "疑似：哈希相近，但未做第二次比较（当前无法读取，或数量过多）",
    ),
    "leaks-incomplete": (
        "  {dataset}: {missing} of {samples} not looked at yet (g3m index {dataset} --pictures)",
        "  {dataset}：{samples} 张中有 {missing} 张尚未检查（g3m index {dataset} --pictures）",
    ),
    "leaks-refuted": (
        "{count} were alike by hash and are not the same picture",
        "{count} 张哈希相近，但经比较并非同一图片",
    ),
    "leaks-crowded": (
        "very many pictures have nearly one hash (one plain layout); not all of those were compared",
        "有大量图片的哈希几乎相同（版式单一）；这些图片未全部比较",
    ),
    "leaks-alone": (
        "the catalog has no other dataset: there is nothing to search",
        "样本目录中没有其他数据集：无可检索",
    ),
    "leaks-more": (
        "  and {count} more: --out FILE writes all, --json prints them",
        "  另有 {count} 对：--out FILE 可写出全部，--json 可打印全部",
    ),
    "leaks-cut": (
        "only the first {count} are listed; leave out the whole dataset",
        "仅列出前 {count} 个；建议整个数据集都不用于训练",
    ),
    "leaks-written": (
        "{path}: {count} samples to leave out: g3m.dataset(..., exclude={path!r}) or g3m drop --keys {path}",
        "{path}：{count} 个应排除的样本：g3m.dataset(..., exclude={path!r}) 或 g3m drop --keys {path}",
    ),
    "leaks-exact": ("same bytes", "逐字节相同"),
    "leaks-nearly": (
        "nearly the same ({bits} bits, {correlation:.2f})",
        "几乎相同（{bits} 位，{correlation:.2f}）",
    ),
    "leaks-perhaps": ("perhaps ({bits} bits)", "疑似（{bits} 位）"),
}
