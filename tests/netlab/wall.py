"""The wall between a client and the hosts: what it does to their packets, and how fast a leg is.

open         nothing
drop         packets to the host vanish
unreach      they are answered with ICMP host unreachable
rst          connections are refused with a reset
sni-rst      a TLS greeting that names the host is answered with a reset
sni-drop     such a greeting vanishes
cut:BYTES    each connection falls silent after so many bytes from the host
cutrst:BYTES each connection is reset then
end:BYTES    the host falls silent for good after so many bytes on all connections together
endrst:BYTES all connections to it are reset from then on
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.netlab.namespaces import LabError, Namespace

RULES = {
    "drop": "{there} drop",
    "unreach": "{there} reject with icmp type host-unreachable",
    "rst": "{there} meta l4proto tcp reject with tcp reset",
    "cut": "{back} ct reply bytes > {size} drop",
    "cutrst": "{there} meta l4proto tcp ct reply bytes > {size} reject with tcp reset",
    "end": "{back} quota name allowance drop",
    # What is over the allowance still arrives: the client's answer to it is what is reset.
    "endrst": "{back} quota name allowance accept\n{there} meta l4proto tcp quota name allowance reject with tcp reset",
}
MODES = ("open", *RULES, "sni-rst", "sni-drop")

TABLE = """
table ip {name}
delete table ip {name}
table ip {name} {{
  quota allowance {{ over {size} bytes; }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    {rules}
  }}
}}
"""


@dataclass
class Wall:
    """What the machine in the middle does, for each pair of a client and a host."""

    namespace: Namespace
    greetings: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def set(self, client: str, address: str, mode: str, host: str) -> None:
        """Treat what a client and an address send one another in this way from now on."""
        kind, _, size = mode.partition(":")
        if kind not in MODES or (kind in RULES and "{size}" in RULES[kind] and not size.isdecimal()):
            raise LabError(f"the wall knows no mode {mode!r}")
        rule = RULES.get(kind, "").format(
            there=f"ip saddr {client} ip daddr {address}",
            back=f"ip saddr {address} ip daddr {client}",
            size=size,
        )
        name = f"pair_{client}_{address}".replace(".", "_")
        table = TABLE.format(name=name, size=size or 1, rules=rule.replace("\n", "\n    "))
        self.namespace.call("nft", "-f", "-", given=table)
        self._set_greeting((client, address), kind, host)

    def throttle(self, leg: Namespace, rate: str) -> None:
        """Let a host send at most so much (`8mbit`), on all ways that begin at its `wall0`; empty lifts it."""
        if " tbf " in leg.call("tc", "qdisc", "show", "dev", "wall0"):
            leg.call("tc", "qdisc", "del", "dev", "wall0", "root")
        if rate:
            words = f"qdisc add dev wall0 root tbf rate {rate} burst 16kb latency 400ms"
            leg.call("tc", *words.split())

    def forget(self, client: str) -> None:
        """Open everything for a client that goes."""
        for line in self.namespace.call("nft", "list", "tables", "ip").splitlines():
            name = line.split()[-1]
            if name.startswith(f"pair_{client}_".replace(".", "_")):
                self.namespace.call("nft", "delete", "table", "ip", name)
        for pair in [pair for pair in self.greetings if pair[0] == client]:
            self.namespace.call("iptables", "-w", "-D", "FORWARD", *self.greetings.pop(pair))

    def _set_greeting(self, pair: tuple[str, str], kind: str, host: str) -> None:
        """nft cannot search a packet for a name; iptables can."""
        known = self.greetings.pop(pair, None)
        if known is not None:
            self.namespace.call("iptables", "-w", "-D", "FORWARD", *known)
        if kind.startswith("sni-"):
            end = ["DROP"] if kind == "sni-drop" else ["REJECT", "--reject-with", "tcp-reset"]
            rule = ["-s", pair[0], "-d", pair[1], "-p", "tcp", "--dport", "443", "-m", "string"]
            rule += ["--algo", "bm", "--string", host, "-j", *end]
            self.namespace.call("iptables", "-w", "-A", "FORWARD", *rule)
            self.greetings[pair] = rule
