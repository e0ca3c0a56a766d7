"""What `g3m verify` says, and what each class of findings means."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual
from g3m.core.treatment import CAPTION_LIMIT_BYTES, CLASSES, PIXEL_LIMIT

_CHINESE = {
    "not_an_image": "字节内容不是 JPEG、PNG、WebP、GIF、BMP 或 TIFF",
    "bomb": f"图片声明的像素超过 {PIXEL_LIMIT}",
    "broken": "图片结尾完整，但无法解码",
    "truncated": "图片被截断：未解码到最后一行就中止",
    "no_end": "缺少图片的结束标记",
    "trailing": "图片结尾之后还有多余字节",
    "warning": "图片可以解码，但 libjpeg 给出警告",
    "not_jpeg": "无论文件名如何，图片实际是 PNG、WebP、GIF、BMP 或 TIFF",
    "cmyk": "图片以印刷用的四色存储",
    "grayscale": "图片没有颜色",
    "orientation": "Exif 标签指出图片需要旋转或镜像",
    "duplicate_image": "更早的样本中有字节完全相同的图片",
    "no_caption": "没有图片说明，或说明为空",
    "caption_too_long": f"图片说明超过 {CAPTION_LIMIT_BYTES} 字节",
    "caption_not_utf8": "图片说明不是 UTF-8",
}

_PROBLEMS: Mapping[str, Bilingual] = {
    "missing": ("a file is not there, or cannot be read", "文件不存在或无法读取"),
    "size": ("a shard has another size than was published", "分片大小与发布时不同"),
    "digest": ("a shard has other bytes than were published", "分片内容与发布时不同"),
    "structure": ("a file is not built as it must be", "文件结构不正确"),
    "extra": ("a tar that the manifest does not name", "清单中没有列出的 tar 文件"),
}

DEEP: Mapping[str, Bilingual] = {
    **{f"class-{name}": words for name, words in _PROBLEMS.items()},
    **{f"class-{name}": (words, _CHINESE[name]) for name, words in CLASSES.items()},
    "verify-class": ("class", "类别"),
    "verify-count": ("count", "数量"),
    "verify-meaning": ("meaning", "含义"),
    "verify-looked": (
        "{name}: {looked} of {samples} pictures looked at",
        "{name}：已检查 {samples} 张图片中的 {looked} 张",
    ),
    "verify-decoded": (
        "{name}: {decoded} of {samples} pictures decode",
        "{name}：{samples} 张图片中有 {decoded} 张可以解码",
    ),
    "verify-list": ("each finding is a line in {path}", "每项发现对应 {path} 中的一行"),
    "verify-more": ("and {count} more", "以及另外 {count} 项"),
}
