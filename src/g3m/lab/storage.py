"""The second host: it holds what others redirect to, behind signed links that expire.

Signed storage refuses an Authorization header (the signature is the authorization), so a client
that drags its token across a redirect is found out twice: by the 400 and by the record of requests.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from datetime import datetime, timezone
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode

from g3m.lab.messages import Asked, Reply, Resource, xml_error

DATE_FORMAT = "%Y%m%dT%H%M%SZ"

Vendor = Literal["Amz", "Goog"]
ALGORITHMS: dict[Vendor, str] = {"Amz": "AWS4-HMAC-SHA256", "Goog": "GOOG4-RSA-SHA256"}
EXPIRED: dict[Vendor, str] = {"Amz": "AccessDenied", "Goog": "ExpiredToken"}


class Storage:
    """Objects by path, reachable with a valid link only. `url` is set when the listener stands."""

    def __init__(self, link_life_s: int) -> None:
        self.url = ""
        self._link_life_s = link_life_s
        self._ahead_s = 0.0
        self._secret = secrets.token_bytes(32)
        self._objects: dict[str, tuple[Vendor, Resource]] = {}
        self._lock = threading.Lock()

    def publish(self, path: str, vendor: Vendor, resource: Resource) -> None:
        """Hold an object; `vendor` decides how its links are spelled."""
        with self._lock:
            self._objects[path] = (vendor, resource)

    def advance(self, seconds: float) -> None:
        """Set the clock forward: links signed more than their life ago, by that clock, expire."""
        with self._lock:
            self._ahead_s += seconds

    def link(self, path: str) -> str:
        """A URL for the object that is valid from now on, for as long as links live."""
        with self._lock:
            vendor, _ = self._objects[path]
        date = datetime.fromtimestamp(self._now_s(), timezone.utc).strftime(DATE_FORMAT)
        life_s = str(self._link_life_s)
        query = {
            f"X-{vendor}-Algorithm": ALGORITHMS[vendor],
            f"X-{vendor}-Credential": f"drawn/{date[:8]}/auto/storage",
            f"X-{vendor}-Date": date,
            f"X-{vendor}-Expires": life_s,
            f"X-{vendor}-SignedHeaders": "host",
            f"X-{vendor}-Signature": self._signature(path, date, life_s),
        }
        return f"{self.url}{quote(path)}?{urlencode(query)}"

    def find(self, asked: Asked) -> Resource | Reply:
        """The object asked for, or the refusal."""
        if "authorization" in asked.headers:
            return xml_error(400, "InvalidArgument", "Only one auth mechanism is allowed.")
        with self._lock:
            held = self._objects.get(asked.path)
        if held is None:
            return xml_error(403, "AccessDenied", "Access Denied")
        vendor, resource = held
        query = dict(parse_qsl(asked.query))
        date, life_s = query.get(f"X-{vendor}-Date", ""), query.get(f"X-{vendor}-Expires", "")
        signature = query.get(f"X-{vendor}-Signature", "")
        if not hmac.compare_digest(signature.encode(), self._signature(asked.path, date, life_s).encode()):
            return xml_error(403, "SignatureDoesNotMatch", "The signature does not match.")
        signed = datetime.strptime(date, DATE_FORMAT).replace(tzinfo=timezone.utc).timestamp()
        if self._now_s() > signed + int(life_s):
            return xml_error(403, EXPIRED[vendor], "Request has expired")
        return resource

    def _now_s(self) -> float:
        return time.time() + self._ahead_s

    def _signature(self, path: str, date: str, life_s: str) -> str:
        text = "\n".join((path, date, life_s))
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
