"""WS-Security UsernameToken as a camera checks it.

Source: OASIS Web Services Security UsernameToken Profile 1.1 §3: the digest is
Base64(SHA-1(nonce + created + password)); a nonce is good once, within a window of time.
"""

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from datetime import UTC, datetime

from drivers.codecs.digest import Credentials
from drivers.codecs.guarded_xml import Element
from drivers.entities import NowMs
from drivers.errors import RefusedError

WINDOW_MS = 5 * 60 * 1000
NONCES_MAX = 4_096
_SECEXT = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_UTILITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_DIGEST = "#PasswordDigest"


class UsernameTokens:
    """Remembers nonces; ``now_ms`` is the camera's own clock, which may be wrong."""

    def __init__(self, credentials: Credentials, now_ms: NowMs) -> None:
        self._credentials = credentials
        self._now_ms = now_ms
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def check(self, envelope: Element) -> None:
        """Use up a request's token; RefusedError when it is not good."""
        token = envelope.first("UsernameToken")
        if token is None:
            raise RefusedError("no token")
        fields = {
            name: element.text.strip() if (element := token.find(f"{{{space}}}{name}")) else ""
            for name, space in (
                ("Username", _SECEXT),
                ("Password", _SECEXT),
                ("Nonce", _SECEXT),
                ("Created", _UTILITY),
            )
        }
        password = token.find(f"{{{_SECEXT}}}Password")
        if password is None or not password.attributes.get("Type", "").endswith(_DIGEST):
            raise RefusedError("no password digest")
        try:
            nonce = base64.b64decode(fields["Nonce"], validate=True)
            created = datetime.fromisoformat(fields["Created"])
        except (binascii.Error, ValueError) as error:
            raise RefusedError("malformed nonce or time") from error
        if created.tzinfo is None:
            created = created.replace(tzinfo=UTC)
        expected = base64.b64encode(
            hashlib.sha1(
                nonce + fields["Created"].encode() + self._credentials.password.encode(),
                usedforsecurity=False,
            ).digest()
        ).decode()
        if not hmac.compare_digest(expected.encode(), fields["Password"].encode()):
            raise RefusedError("wrong password")
        if fields["Username"] != self._credentials.user:
            raise RefusedError("wrong user")
        if abs(created.timestamp() * 1000 - self._now_ms()) > WINDOW_MS:
            raise RefusedError("token too old or from the future")
        if fields["Nonce"] in self._nonces:
            raise RefusedError("nonce used before")
        self._nonces[fields["Nonce"]] = None
        if len(self._nonces) > NONCES_MAX:
            self._nonces.popitem(last=False)
