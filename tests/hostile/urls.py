"""What an enemy writes into a list or a `Location` so that a fetch lands where it must not: one table, by kind.

`PORT` stands for a port that is listened on at 127.0.0.1, 127.0.0.2 and ::1: a trap. `good.test` is a host that
may be reached. Names are those of `EVIL`, where an enemy's name server says where they lead.
"""

from __future__ import annotations

FRONT = "127.9.9.9"
"""The address of the host that stands for the public Internet."""

EVIL: dict[str, tuple[str, ...]] = {
    "loopback.test": ("127.0.0.1",),
    "second.test": ("127.0.0.2",),
    "six.test": ("::1",),
    "mapped.test": ("::ffff:127.0.0.1",),
    "compatible.test": ("::127.0.0.1",),
    "nat64.test": ("64:ff9b::7f00:1",),
    "sixtofour.test": ("2002:7f00:1::1",),
    "teredo.test": ("2001:0:7f00:1:8000:63bf:80ff:fffe",),
    "isatap.test": ("2606:4700::5efe:127.0.0.1",),
    "zero.test": ("0.0.0.0",),
    "private.test": ("10.0.0.1",),
    "unique.test": ("fd12:3456::1",),
    "both.test": (FRONT, "127.0.0.1"),
    "behind.test": (*(FRONT for _ in range(20)), "127.0.0.1"),
    "metadata.test": ("169.254.169.254",),
    "metadata.google.internal": ("169.254.169.254",),
    "ec2.test": ("fd00:ec2::254",),
    "google.test": ("fd20:ce::254",),
    "alibaba.test": ("100.100.100.200",),
    "azure.test": ("168.63.129.16",),
    "oracle.test": ("192.0.0.192",),
    "link.test": ("fe80::1%lo",),
    "multicast.test": ("224.0.0.1",),
    "localhost": ("127.0.0.1",),
    "a.localhost": ("127.0.0.1",),
}
"""Names and what an enemy's name server says of them."""

URLS: dict[str, tuple[str, ...]] = {
    "numbers": (
        "http://127.0.0.1:PORT/a.jpg", "http://127.0.0.2:PORT/a.jpg", "http://127.1:PORT/a.jpg", "http://127.0.1:PORT/",
        "http://2130706433:PORT/", "http://0x7f000001:PORT/", "http://0x7f.0x0.0x0.0x1:PORT/", "http://0x7f.1:PORT/",
        "http://0177.0.0.1:PORT/", "http://017700000001:PORT/", "http://0177.0x0.0.1:PORT/", "http://0:PORT/",
        "http://0.0.0.0:PORT/", "http://000.000.000.000:PORT/", "http://127.0.0.1.:PORT/", "http://127.000.000.001:PORT/",
        "http://4294967296:PORT/", "http://6425673729:PORT/", "http://１２７.０.０.１:PORT/", "http://①②⑦.⓪.⓪.①:PORT/",
        "http://127。0。0。1:PORT/", "http://127.0.0.%31:PORT/", "http://%31%32%37.0.0.1:PORT/", "http://10.0.0.1:PORT/",
        "http://172.16.0.1:PORT/", "http://192.168.0.1:PORT/", "http://100.64.0.1:PORT/", "http://224.0.0.1:PORT/",
        "http://255.255.255.255:PORT/",
    ),
    "version six": (
        "http://[::1]:PORT/", "http://[0:0:0:0:0:0:0:1]:PORT/", "http://[::]:PORT/", "http://[::ffff:127.0.0.1]:PORT/",
        "http://[::ffff:7f00:1]:PORT/", "http://[::127.0.0.1]:PORT/", "http://[::ffff:0:127.0.0.1]:PORT/",
        "http://[64:ff9b::127.0.0.1]:PORT/", "http://[64:ff9b:1::7f00:1]:PORT/", "http://[2002:7f00:1::1]:PORT/",
        "http://[2001:0:7f00:1:8000:63bf:80ff:fffe]:PORT/", "http://[2606:4700::5efe:7f00:1]:PORT/",
        "http://[::1%25lo]:PORT/", "http://[::1%lo]:PORT/", "http://[::1]example.test:PORT/", "http://[fe80::1%25lo]:PORT/",
        "http://[fd12:3456::1]:PORT/", "http://[fec0::1]:PORT/", "http://[ff02::1]:PORT/",
    ),
    "metadata": (
        "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/", "http://[fd20:ce::254]/",
        "http://100.100.100.200/latest/", "http://168.63.129.16/metadata", "http://192.0.0.192/opc/",
        "http://[::ffff:a9fe:a9fe]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[2002:a9fe:a9fe::1]/", "http://2852039166/",
        "http://0xa9fea9fe/", "http://169.254.170.2/v2/credentials",
    ),
    "names": (
        "http://localhost:PORT/", "http://LOCALHOST.:PORT/", "http://a.localhost:PORT/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/",
        "http://ｌｏｃａｌｈｏｓｔ:PORT/", "http://loc\u00adalhost:PORT/", "http://local\u200bhost:PORT/",
        "http://loopback。test:PORT/", "http://loopback.test.:PORT/", "http://LOOPBACK.test:PORT/",
        *(f"http://{name}:PORT/a.jpg" for name in EVIL),
    ),
    "logins": (
        "http://me@127.0.0.1:PORT/", "http://good.test@127.0.0.1:PORT/", "http://me:pw@good.test:PORT/",
        "http://good.test:80@127.0.0.1:PORT/", "http://127.0.0.1:PORT\\@good.test/", "http://127.0.0.1:PORT#@good.test/",
        "http://127.0.0.1:PORT?@good.test/", "http://good.test &@127.0.0.1:PORT# @good.test/",
        "http://127.0.0.1%2f@good.test:PORT/",
    ),
    "other forms": (
        "http:127.0.0.1:PORT/", "http:/127.0.0.1:PORT/", "http:///127.0.0.1:PORT/", "http:\\\\127.0.0.1:PORT\\a",
        "//127.0.0.1:PORT/", "127.0.0.1:PORT/a.jpg", "http://{127.0.0.1}:PORT/", "http://127.0.0.{1,2}:PORT/",
        "http://127.0.0.[1-2]:PORT/", "https://127.0.0.1:PORT/",
    ),
    "schemes": (
        "file:///etc/passwd", "FILE:///etc/passwd", "file://127.0.0.1/etc/passwd", "gopher://127.0.0.1:PORT/_GET%20/",
        "dict://127.0.0.1:PORT/d:x", "ftp://127.0.0.1:PORT/a.jpg", "sftp://127.0.0.1:PORT/", "ldap://127.0.0.1:PORT/",
        "telnet://127.0.0.1:PORT/", "tftp://127.0.0.1:PORT/x", "smb://127.0.0.1:PORT/x", "ws://127.0.0.1:PORT/",
        "unix:///var/run/docker.sock", "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
        "javascript:fetch('http://127.0.0.1:PORT')", "jar:http://127.0.0.1:PORT!/a", "view-source:http://127.0.0.1:PORT/",
        "s3://127.0.0.1:PORT/x", "hub://o/n@main/x", "",
    ),
    "line ends": (
        "http://good.test/\r\nHost: 127.0.0.1:PORT", "http://good.test\r\n@127.0.0.1:PORT/", "http://127.0.0.1\t:PORT/",
        "ht\ntp://127.0.0.1:PORT/", "http://127.0.0.1%00.good.test:PORT/", "http://127.0.0.1\x00.good.test:PORT/",
        "http://good.test/%0d%0aHost:127.0.0.1\r\n\r\nGET http://127.0.0.1:PORT/",
    ),
    "ports": (
        "http://good.test:22/", "http://good.test:25/", "http://good.test:6379/", "http://good.test:11211/",
        "http://good.test:0/", "http://good.test:65536/", "http://good.test:-1/", "http://good.test:PORT:80/",
    ),
}  # fmt: skip
"""None of these is fetched for a list."""

LINES = tuple(url for urls in URLS.values() for url in urls)
