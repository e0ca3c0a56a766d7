"""The sentences of `g3m gather`; see ui/words.py."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual
from g3m.core.outcomes import REASONS
from g3m.core.treatment import CLASSES

GATHER: Mapping[str, Bilingual] = {
    "gathered": (
        "  of {rows} rows {share} became samples",
        "  共 {rows} 行，其中 {share} 成为样本",
    ),
    "status-rows": (
        "{name}: {done} of {total} rows asked for, {share} of them became samples",
        "{name}：{total} 行中已处理 {done} 行，其中 {share} 成为样本",
    ),
    "gathered-others": ("for {count} other reasons", "另外 {count} 种原因"),
    "gathered-part": (
        "Part {part} is done; the dataset is published by the last part.",
        "第 {part} 部分已完成；最后一个部分完成时会发布数据集。",
    ),
    "gathered-tables": (
        "  what became of every row: the table beside each shard in {folder} (00000.parquet or .rows.jsonl)",
        "  每一行的结果见 {folder} 中各分片旁的表（00000.parquet 或 .rows.jsonl）",
    ),
    "gathered-again": (
        "  {count} of those left out may succeed another time:\n  {line}",
        "  未收录的行中有 {count} 行以后可能成功：\n  {line}",
    ),
}

HTTP: Mapping[int, Bilingual] = {
    401: ("the host asks for a login", "网站要求登录"),
    403: ("the host refuses", "网站拒绝访问"),
    404: ("the picture is not there any more", "图片已不存在"),
    410: ("the picture is gone for good", "图片已永久删除"),
    429: ("the host asked to come more slowly", "网站要求降低访问频率"),
    451: ("withheld for legal reasons", "因法律原因不提供"),
}
"""What the commonest answers of hosts mean."""

_SERVER: Bilingual = ("the host had trouble", "网站出现故障")
_OTHER: Bilingual = ("another answer than a picture", "返回的不是图片")

CHINESE: Mapping[str, str] = {
    "bad_url": "地址不是 http 或 https，或其中带有登录信息",
    "private_address": "域名指向非公网地址",
    "name_unknown": "域名不存在",
    "name_failed": "本次未能解析域名",
    "stand_in": "域名由 TUN 模式的代理程序代答（fake-ip）：请用 --proxy 指定它",
    "unreachable": "无法连接，或在应答前连接中断",
    "tls": "没有可信的 TLS 连接",
    "timeout": "在允许的时间内没有回应或未传完",
    "too_slow": "在一段时间内几乎没有收到数据",
    "cut_off": "其他行均已完成，而这一行耗时过长",
    "redirects": "重定向过多、无效，或退回到普通 http",
    "too_big": "内容超过允许的大小",
    "empty": "应答没有内容",
    "partial": "收到的字节少于声明的大小",
    "opt_out": "响应头要求不要使用",
    "robots": "网站的 robots.txt 要求不要访问",
    "hash_mismatch": "内容与制作列表时的不同",
    "too_small": "短边像素少于要求",
    "dropped": "已用 `g3m drop` 移除",
    "aspect": "长宽比超过要求",
    "not_an_image": "不是 JPEG、PNG、WebP、GIF、BMP 或 TIFF",
    "bomb": "图片声明的像素数过大",
    "broken": "图片结尾完整，但无法解码",
    "truncated": "图片被截断",
    "no_end": "缺少图片结束标记",
    "trailing": "图片结尾之后还有多余字节",
    "warning": "图片可解码，但 libjpeg 发出警告",
    "not_jpeg": "图片不是 JPEG",
    "cmyk": "图片是四色印刷格式",
    "grayscale": "图片没有颜色",
    "orientation": "Exif 要求旋转或镜像图片",
    "duplicate_image": "之前的样本已有相同的图片",
    "no_caption": "没有标注，或标注为空",
    "caption_too_long": "标注过长",
    "caption_not_utf8": "标注不是 UTF-8",
}
"""The meanings of core/outcomes.py and core/treatment.py in Chinese."""


def meaning_of(reason: str) -> Bilingual:
    """What a reason code means; empty texts for one that is not known."""
    head, _, status = reason.partition("_")
    if head == "http" and status.isdecimal():
        return HTTP.get(int(status), _SERVER if int(status) >= 500 else _OTHER)
    known = REASONS.get(reason)
    return (known.meaning if known else CLASSES.get(reason, "")), CHINESE.get(reason, "")
