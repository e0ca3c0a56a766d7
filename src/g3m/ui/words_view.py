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
    "view-not-opened-remote": (
        "No browser is opened: you are on another machine than your browser. Use the line above.",
        "未打开浏览器：浏览器不在本机。请使用上面的命令。",
    ),
    "view-not-opened-display": (
        "No browser is opened: there is no display here. Open the address above.",
        "未打开浏览器：本机没有图形界面。请自行打开上面的地址。",
    ),
    "view-not-opened-socket": (
        "No browser is opened: none can open a socket. Use the line above.",
        "未打开浏览器：浏览器无法打开套接字。请使用上面的命令。",
    ),
    "view-not-opened-browser": (
        "No browser is opened: none was found, or it did not start. Open the address above.",
        "未打开浏览器：未找到浏览器或启动失败。请自行打开上面的地址。",
    ),
    "view-writing": (
        "{written} pages are written of {known} known so far",
        "已写入 {written} 个页面，目前已知共 {known} 个",
    ),
    "view-stopped": (
        "Stopped. No half copy is left at {folder}.",
        "已停止。{folder} 处没有留下不完整的副本。",
    ),
    "view-exported": (
        "{folder}: {pages} pages, {pictures} pictures, {size}; open index.html",
        "{folder}：{pages} 个页面，{pictures} 张图片，{size}；打开 index.html 即可查看",
    ),
    "view-part": (
        "{name}: the first {shown} of {held} samples (--samples)",
        "{name}：前 {shown} 个样本，共 {held} 个（--samples）",
    ),
}
