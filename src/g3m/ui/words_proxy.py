"""The sentences of `g3m proxy`; see ui/words.py."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

PROXY: Mapping[str, Bilingual] = {
    "proxy-core": (
        "core     {kind} {number} at {controller}{owner}",
        "内核     {kind} {number}，控制器 {controller}{owner}",
    ),
    "proxy-mode": ("mode     {mode}", "模式     {mode}"),
    "proxy-ports": ("ports    {ports}", "端口     {ports}"),
    "proxy-no-core": (
        "core     none found with a controller at 127.0.0.1 ({ports}) or at a usual unix socket",
        "内核     未在 127.0.0.1（{ports}）或常见 unix 套接字上找到控制器",
    ),
    "proxy-locked": ("core     {message}. {hint}.", "内核     {message}。{hint}。"),
    "proxy-used": ("proxy    {proxy} would be used", "代理     将使用 {proxy}"),
    "proxy-none": ("proxy    none is listening at the usual ports", "代理     常用端口上没有代理在监听"),
    "proxy-listener": (
        "listens  127.0.0.1:{port} ({speaks}{login}){owner}",
        "监听     127.0.0.1:{port}（{speaks}{login}）{owner}",
    ),
    "proxy-wants-login": (", wants a login", "，需要登录"),
    "proxy-yours": (", yours", "，属于您"),
    "proxy-system": (", a system account's (uid {uid})", "，属于系统账户（uid {uid}）"),
    "proxy-other": (", another user's (uid {uid}): not used", "，属于其他用户（uid {uid}）：不使用"),
    "proxy-other-core": (", another user's", "，属于其他用户"),
    "proxy-host": ("host     {host}: {answer}", "主机     {host}：{answer}"),
    "proxy-answer": ("the first byte after {time}", "{time} 后收到首字节"),
    "proxy-way": ("way      rule {rule}: {chain}", "路径     规则 {rule}：{chain}"),
    "proxy-way-fixed": (
        "         A rule gives this host to {node} and to no group: choosing a node changes nothing for it.",
        "         规则将该主机直接交给 {node}，不经过任何分组：选择节点对它不起作用。",
    ),
    "proxy-way-unknown": (
        "way      the core shows no connection of ours: the node is dead, or the proxy another program's",
        "路径     内核中没有看到我们的连接：节点无响应，或该代理属于其他程序",
    ),
    "proxy-warn-controller": (
        "warning  the controller listens beyond this machine: set external-controller to 127.0.0.1:PORT",
        "警告     控制器监听在本机之外：请将 external-controller 设为 127.0.0.1:端口",
    ),
    "proxy-warn-secret": (
        "warning  the controller has no secret: any program here, even a web page, can steer it; set secret",
        "警告     控制器没有密钥：本机任何程序乃至网页都能操纵内核；请设置 secret",
    ),
    "proxy-warn-open": (
        "warning  the proxy is open to the network without a login: set allow-lan: false, or authentication",
        "警告     代理端口对局域网开放且无需登录：请设置 allow-lan: false 或 authentication",
    ),
    "proxy-column-delay": ("delay", "延迟"),
    "proxy-column-rate": ("throughput", "吞吐量"),
    "proxy-column-first": ("first byte", "首字节"),
    "proxy-column-node": ("node", "节点"),
    "proxy-failed": ("failed", "失败"),
    "proxy-tested": ("{host} over the nodes of {group}:", "经 {group} 的节点访问 {host}："),
    "proxy-elsewhere": ("went through {chain}", "实际经过 {chain}"),
    "proxy-may-measure": (
        "Choose {names} in {group} for all its users, each for about {seconds} s, then {former} again?",
        "在 {group} 中依次选用 {names}（影响所有使用者），每个约 {seconds} 秒，之后恢复为 {former}？",
    ),
    "proxy-felt": (
        "Measuring. All programs that use this group feel it; Ctrl-C puts the choice back.",
        "正在测量。使用该分组的所有程序都会受影响；按 Ctrl-C 会恢复原来的选择。",
    ),
    "proxy-measure-yes": (
        "Only the chosen node was measured. --yes measures the best few as well, and puts the choice back.",
        "只测量了当前节点。加上 --yes 会测量最好的几个节点，并恢复原来的选择。",
    ),
    "proxy-fastest": ("{node} was the fastest. To use it: {command}", "{node} 最快。如需使用：{command}"),
    "proxy-put-back": ("{group} uses {former} again.", "{group} 已恢复为 {former}。"),
    "proxy-not-put-back": (
        "Somebody else chose in {group} meanwhile; that choice was left alone.",
        "期间有其他程序更改了 {group} 的选择，未作恢复。",
    ),
    "proxy-may-use": (
        "{group} uses {former}. Use {node} from now on, for all programs that use this group?",
        "{group} 当前使用 {former}。改用 {node}？使用该分组的所有程序都会受影响。",
    ),
    "proxy-uses": (
        "{group} uses {node} now, and {former} before; `g3m proxy restore` puts it back.",
        "{group} 现在使用 {node}，之前为 {former}；`g3m proxy restore` 可恢复。",
    ),
    "proxy-open-stay": (
        "Connections that are open stay on the old node.",
        "已建立的连接仍走旧节点。",
    ),
    "proxy-uses-already": ("{group} uses {node} already.", "{group} 已在使用 {node}。"),
    "proxy-may-restore": (
        "{group} uses {now}, which g3m did not choose. Put {former} back all the same?",
        "{group} 当前使用 {now}，并非 g3m 所选。仍要恢复为 {former}？",
    ),
    "proxy-nothing-to-restore": (
        "Nothing to put back: g3m has changed no choice of this core.",
        "无需恢复：g3m 没有更改过该内核的选择。",
    ),
    "proxy-declined": ("Nothing was changed.", "未作任何更改。"),
    "proxy-env-login": (
        "This proxy wants a login, which is not printed: put USER:PASSWORD@ before its host yourself.",
        "该代理需要登录信息，此处不会打印：请自行在主机前加上 用户名:密码@。",
    ),
}
