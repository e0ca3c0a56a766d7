"""The sentences of `g3m view`; those of the pages are in ui/web/words.py."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

VIEW: Mapping[str, Bilingual] = {
    "view-root": ("Shown is what lies below {root}.", "正在展示 {root} 下的内容。"),
    "view-port": ("Port {port} is taken; this is {used}.", "端口 {port} 已被占用，改用 {used}。"),
    "view-tunnel": ("On your own machine:", "在您自己的机器上运行："),
    "view-socket": ("and then open http://127.0.0.1:{port}/", "然后打开 http://127.0.0.1:{port}/"),
    "view-end": ("Ctrl-C ends it. Nothing leaves this machine.", "按 Ctrl-C 结束。不会向外发送任何内容。"),
    "view-exported": (
        "{folder}: {pages} pages, {pictures} pictures, {size}; open index.html",
        "{folder}：{pages} 个页面，{pictures} 张图片，{size}；打开 index.html 即可查看",
    ),
    "view-part": (
        "{name}: the first {shown} of {held} samples (--samples)",
        "{name}：前 {shown} 个样本，共 {held} 个（--samples）",
    ),
}
