"""What the pages say, in English and Chinese side by side, and what codes of flags and reasons mean.

The sentences are in words_site.py and words_samples.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual
from g3m.core.samples import REASONS
from g3m.ui.web.words_samples import SAMPLES
from g3m.ui.web.words_site import SITE
from g3m.ui.words_deep import DEEP
from g3m.ui.words_gather import meaning_of

LANGUAGES = ("en", "zh")

PAGES: Mapping[str, Bilingual] = {**SITE, **SAMPLES}
"""Every key is used by a template or by pages.py."""

SPELLED: Mapping[str, Bilingual] = {
    "same_picture": ("the same bytes", "字节相同"),
    "near_picture": ("nearly the same", "近似"),
    "not_an_image": ("not an image", "不是图片"),
    "bomb": ("too many pixels", "像素过多"),
    "missing_image": ("no picture", "没有图片"),
    "damaged_shard": ("the shard is damaged", "分片已损坏"),
    "too_many_bytes": ("too large to be drawn", "文件过大，无法绘制"),
    "broken": ("broken", "损坏"),
    "truncated": ("cut off", "被截断"),
    "no_end": ("no end marker", "缺少结束标记"),
    "trailing": ("bytes behind the end", "结尾有多余字节"),
    "warning": ("decodes with a warning", "解码有警告"),
    "not_jpeg": ("not a JPEG", "非 JPEG"),
    "cmyk": ("four colours", "四色"),
    "grayscale": ("no colours", "灰度"),
    "orientation": ("to be turned", "需旋转"),
    "duplicate_image": ("same as an earlier one", "与先前重复"),
    "no_caption": ("no caption", "无说明"),
    "caption_too_long": ("long caption", "说明过长"),
    "caption_not_utf8": ("caption is no UTF-8", "说明非 UTF-8"),
    "unreadable": ("cannot be decoded", "无法解码"),
    "dropped": ("dropped", "已移除"),
}
"""Short names of flags and reasons; one that is not known is shown as it is."""

_CHINESE: Mapping[str, str] = {
    "missing_image": "图片说明引用的图片不在归档中",
    "empty_image": "图片文件没有内容",
    "damaged": "归档中此成员的校验和不符",
    "unsafe_key": "文件名无法生成可用的键",
    "duplicate_key": "更早的样本已使用相同的键",
    "duplicate": "归档中有第二个同名成员",
    "unsafe_name": "成员名指向归档之外，或含有控制字符",
    "not_a_file": "成员是链接、设备或其他特殊文件",
    "sparse": "成员是稀疏文件",
    "too_large": "成员声明的大小超过 2 GiB",
    "ratio": "成员解压后会超过其大小的一千倍",
    "encrypted": "成员已加密",
    "unsupported_method": "成员使用了不支持的压缩方法",
    "link_outside": "链接指向文件夹之外",
    "incomplete": "分片中的样本缺少图片或图片说明",
    "bad_record": "图片说明记录无法读取",
    "dropped": "已用 `g3m drop` 移除",
}
"""The reasons of core/samples.py that only packing gives."""

_MEANINGS: Mapping[str, Bilingual] = {
    **{reason: (REASONS[reason], chinese) for reason, chinese in _CHINESE.items()},
    "unreadable": ("the picture cannot be decoded", "图片无法解码"),
}


class Voice:
    """Says things in one language."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self._column = LANGUAGES.index(lang)

    def say(self, key: str, **values: object) -> str:
        """The sentence behind a key."""
        return PAGES[key][self._column].format(**values)

    def pick(self, both: Bilingual) -> str:
        """One of two given sentences."""
        return both[self._column]

    def spell(self, code: str) -> str:
        """A flag or a reason in few words."""
        return spell(code, self.lang)

    def meaning(self, code: str) -> str:
        """What a flag or a reason means, as it stands on a page; empty if it is not known."""
        known = _MEANINGS.get(code) or DEEP.get(f"class-{code}") or meaning_of(code)
        return (known[self._column] or known[0]).replace("`", "")


def spell(code: str, lang: str = "en") -> str:
    """A flag or a reason in few words, or as it is."""
    return SPELLED[code][LANGUAGES.index(lang)] if code in SPELLED else code
