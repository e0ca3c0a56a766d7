"""The sentences around what `g3m doctor` finds on the network; see ui/words.py.

The causes themselves have their words in core/diagnosis.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

NETWORK: Mapping[str, Bilingual] = {
    "doctor-looking": (
        "Asking hosts: {places}, ways: {ways}; up to half a minute (--offline leaves this out).",
        "正在检查网络：{places} 个主机，{ways} 条路径，最多约半分钟（--offline 可跳过）。",
    ),
    "doctor-head": (
        "network   hosts: {places}, ways: {ways}, asked in {time}; speeds are short samples",
        "网络      {places} 个主机，{ways} 条路径，用时 {time}；速度为短时采样",
    ),
    "doctor-host": ("host      {host}", "主机      {host}"),
    "doctor-direct": ("direct", "直连"),
    "doctor-way": ("way       {way} ({scheme}, from {origin})", "路径      {way}（{scheme}，来自 {origin}）"),
    "doctor-way-found": (
        "way       {way} ({scheme}): yours, runs on this machine, nothing names it yet",
        "路径      {way}（{scheme}）：属于您，正在本机运行，尚无变量指向它",
    ),
    "doctor-way-config": ("your config file", "配置文件"),
    "doctor-broken": ("{way}: {cause}", "{way}：{cause}"),
    "doctor-fake": (
        "dns       {host} is answered with {address}: a proxy in TUN mode carries what is direct here",
        "DNS       {host} 解析为 {address}：本机有代理程序处于 TUN 模式，“直连”实际由它转发",
    ),
    "doctor-over": ("{speed}, over {host}", "{speed}，经 {host}"),
    "doctor-leads": ("redirects to {host}: {cause}", "重定向到 {host}：{cause}"),
    "doctor-rate": ("{rate}/s", "{rate}/s"),
    "doctor-slow": ("{rate}/s: slow", "{rate}/s：很慢"),
    "doctor-throttled": (
        "{one}/s, {several}/s with {count} connections: each is throttled",
        "单连接 {one}/s，{count} 个连接共 {several}/s：单连接被限速",
    ),
    "doctor-carried": ("dataset   {names}: {ways}{rate}", "数据集    {names}：{ways}{rate}"),
    "doctor-at": (", {rate}/s", "，{rate}/s"),
    "doctor-not-carried": (
        "dataset   {names}: no way to {places}",
        "数据集    {names}：没有路径可达 {places}",
    ),
    "doctor-token-seen": (
        "token     sent to {hosts} and to none of the {others} other hosts",
        "令牌      仅发送给 {hosts}，未发送给其余 {others} 个主机",
    ),
    "doctor-token-kept": ("token     sent to none of these hosts", "令牌      未发送给以上任何主机"),
    "doctor-core": (
        "core      {kind} {number} at {controller}, mode {mode}",
        "内核      {kind} {number}，控制器 {controller}，模式 {mode}",
    ),
    "doctor-other-user": (
        "listener  127.0.0.1:{port} is another user's proxy and is not used",
        "监听      127.0.0.1:{port} 是其他用户的代理，不会使用",
    ),
    "doctor-note": ("note      {note}", "提示      {note}"),
    "doctor-hint": ("{message} ({hint})", "{message}（{hint}）"),
    "doctor-more": (
        "          {count} lines more: --json has all",
        "          另有 {count} 行：--json 可查看全部",
    ),
    "doctor-command": ("command   {command}{time}", "命令      {command}{time}"),
    "doctor-time": ("   (about {time} at these speeds)", "   （按此速度约需 {time}）"),
    "doctor-no-command": (
        (
            "command   none helps yet: start a proxy of yours and name it (g3m doctor --proxy"
            " http://127.0.0.1:PORT), or fetch on another machine and use --from"
        ),
        (
            "命令      暂无可用命令：请启动您的代理并指明（g3m doctor --proxy http://127.0.0.1:端口），"
            "或在其他机器下载后使用 --from"
        ),
    ),
}
