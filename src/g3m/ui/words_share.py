"""The sentences of `g3m share`, `g3m import` and the lists of `g3m plan --format`; see ui/words.py."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

SHARE: Mapping[str, Bilingual] = {
    "share-offers": (
        "shared from {root}: {whole} whole files, {parts} in part, {datasets} packed datasets, {size}",
        "正在共享 {root}：完整文件 {whole} 个，部分文件 {parts} 个，已打包数据集 {datasets} 个，共 {size}",
    ),
    "share-nothing": (
        "nothing under {root} can be shared yet; what comes will be",
        "{root} 下暂无可共享的内容；之后出现的内容会自动共享",
    ),
    "share-hand-on": (
        "On the other machine: g3m get NAME --peer ADDRESS, with the address above. Ctrl-C ends this.",
        "在另一台机器上运行：g3m get 名称 --peer 地址（即上面的地址）。按 Ctrl-C 结束共享。",
    ),
    "share-secret": (
        "Whoever has the address can read what is shared; it is sent unencrypted.",
        "拿到该地址的人都能读取共享内容；传输不加密。",
    ),
    "share-terms": (
        "The terms of a dataset hold for those you hand it to as well: g3m info NAME",
        "数据集的使用条款对您转交的对象同样有效：g3m info 名称",
    ),
    "share-loopback": (
        "Only this machine can reach {host}; --host 0.0.0.0 lets others in.",
        "只有本机能访问 {host}；用 --host 0.0.0.0 允许其他机器访问。",
    ),
    "share-readable": (
        "{path} can be read by other users of this machine: chmod 600 {path}",
        "{path} 可被本机其他用户读取：chmod 600 {path}",
    ),
    "share-sent": (
        "{size} sent so far, open connections: {connections}",
        "已发送 {size}，当前连接数：{connections}",
    ),
    "import-taken": ("{name}: taken in from {path}", "{name}：已从 {path} 导入"),
    "import-here": ("{name}: is here already", "{name}：已存在"),
    "import-missing": ("{name}: still missing, {size}", "{name}：仍缺少，{size}"),
    "import-none": (
        "no file there is one of those that are needed",
        "该目录中没有所需的文件",
    ),
    "import-others": (
        "other files, nothing to these datasets: {count}",
        "与这些数据集无关的其他文件：{count} 个",
    ),
    "import-unlisted": (
        "{name}: its files are not known without the hub's listing; see docs/guides/by-hand.md",
        "{name}：没有 Hub 列表就无法得知其文件；见 docs/guides/by-hand.md",
    ),
    "import-published": (
        "{name}: stands whole already and needs no file",
        "{name}：数据集已完整，不需要任何文件",
    ),
    "import-unpinned": (
        "{name}: its recipe pins no digest, so no file can be recognised; use g3m get {dataset} --from PATH",
        "{name}：配方中没有校验值，无法识别文件；请使用 g3m get {dataset} --from 路径",
    ),
    "import-size": (
        "{path}: not taken: has {size} bytes, {name} has {planned}",
        "{path}：未导入：大小为 {size} 字节，而 {name} 为 {planned} 字节",
    ),
    "import-digest": (
        "{path}: not taken: has {actual}, {name} has {pinned}",
        "{path}：未导入：校验值为 {actual}，而 {name} 为 {pinned}",
    ),
    "import-unfinished": (
        "{path}: not taken: aria2 has not finished it ({path}.aria2 is there)",
        "{path}：未导入：aria2 尚未下载完成（存在 {path}.aria2）",
    ),
    "import-unreadable": ("{path}: not taken: {reason}", "{path}：未导入：{reason}"),
    "format-here": ("{count} files are here already and not in the list", "{count} 个文件已存在，未列入"),
    "format-no-place": (
        "{name}: left out, no address of it can be written down without a secret",
        "{name}：已略过，其地址含有密钥，不能写入列表",
    ),
}
