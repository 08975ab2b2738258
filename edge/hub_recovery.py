"""The box's calls to its hub's vault shelf and for its rebuilding; see ``hub/recovery_api.py``."""

import io
import ssl
from typing import Protocol, TypeVar

import aiohttp
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.errors import BoxSetupError, HubAwayError
from provisioning.identity import Identity
from sync.errors import ForgedError, MalformedError
from sync.persons.restore import PICTURE_BYTES_MAX, SchoolPicture, parse_picture
from sync.persons.vault_backup import (
    WIRE_BYTES_MAX,
    ShareWish,
    ShelfState,
    VaultCopy,
    VaultReceipt,
    VaultShare,
    check_receipt,
)

CALL_S_MAX = 1200.0
"""4 MiB take so long at 30 kbit/s."""
SILENCE_S_MAX = 120.0
CONNECT_S_MAX = 20.0
_ANSWER_BYTES_MAX = 4096
_WORDS_MAX = 500
_NOT_FOUND = 404
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class RecoveryHub(Protocol):
    """What keeps and gives back a school's vault, and says what it holds of the school.

    Each raises HubAwayError (try again) or BoxSetupError (the hub's no, in words).
    """

    async def state(self) -> ShelfState: ...

    async def share_after(self, generation: int) -> VaultShare: ...

    async def store(self, backup: bytes) -> VaultReceipt:
        """Return the hub's receipt, its signature verified."""

    async def copy(self) -> VaultCopy | None: ...

    async def holdings(self) -> SchoolPicture: ...

    async def picture(self) -> SchoolPicture: ...


class HttpRecoveryHub:
    """The same over HTTPS with mutual TLS, a connection a call."""

    def __init__(self, identity: Identity, context: ssl.SSLContext) -> None:
        self._base = f"https://{identity.hub_host}:{identity.hub_port}"
        self._context = context
        self._hub = Ed25519PublicKey.from_public_bytes(identity.hub.keys.signing)

    async def state(self) -> ShelfState:
        return _decode(await self._call("GET", "/vault"), ShelfState)

    async def share_after(self, generation: int) -> VaultShare:
        wish = msgspec.msgpack.encode(ShareWish(generation))
        return _decode(await self._call("POST", "/vault/share", wish), VaultShare)

    async def store(self, backup: bytes) -> VaultReceipt:
        receipt = _decode(await self._call("PUT", "/vault/backup", backup), VaultReceipt)
        try:
            check_receipt(receipt, self._hub)
        except ForgedError as error:
            raise HubAwayError(f"the hub's receipt of the vault does not hold: {error}") from error
        return receipt

    async def copy(self) -> VaultCopy | None:
        try:
            answer = await self._call("GET", "/vault/backup", bytes_max=WIRE_BYTES_MAX)
        except _NotFoundError:
            return None
        return _decode(answer, VaultCopy)

    async def holdings(self) -> SchoolPicture:
        return await self._picture("/school/holdings")

    async def picture(self) -> SchoolPicture:
        return await self._picture("/school/picture")

    async def _picture(self, path: str) -> SchoolPicture:
        answer = await self._call("GET", path, bytes_max=PICTURE_BYTES_MAX)
        try:
            return parse_picture(answer)
        except MalformedError as error:
            raise HubAwayError(f"the hub's answer cannot be read: {error}") from error

    async def _call(
        self, method: str, path: str, body: bytes | None = None, bytes_max: int = _ANSWER_BYTES_MAX
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(
            total=CALL_S_MAX, sock_connect=CONNECT_S_MAX, sock_read=SILENCE_S_MAX
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=self._context, limit=1, force_close=True),
                    timeout=timeout,
                    auto_decompress=False,
                ) as http,
                http.request(
                    method,
                    f"{self._base}{path}",
                    data=None if body is None else io.BytesIO(body),
                    allow_redirects=False,
                ) as response,
            ):
                content = await _bounded(response, bytes_max)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
            words = str(error) or type(error).__name__
            raise HubAwayError(f"the hub does not answer ({words}); try again later") from error
        return _judged(status, content)


class _NotFoundError(BoxSetupError):
    """The hub has no such thing."""


def _judged(status: int, content: bytes) -> bytes:
    words = content[:_WORDS_MAX].decode(errors="replace")
    if status == 200:  # noqa: PLR2004 - HTTP's own number
        return content
    if status == _NOT_FOUND:
        raise _NotFoundError(f"the hub has no such thing ({words}); is it of an older version?")
    if 400 <= status < 500:  # noqa: PLR2004 - HTTP's own borders
        raise BoxSetupError(f"the hub refuses: {words}")
    raise HubAwayError(f"the hub has trouble of its own (status {status}); try again later")


async def _bounded(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > bytes_max:
            raise HubAwayError(f"the hub's answer is over {bytes_max} bytes; refused")
    return bytes(content)


def _decode(answer: bytes, kind: type[_Struct]) -> _Struct:
    try:
        return msgspec.msgpack.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HubAwayError(f"the hub's answer cannot be read: {error}") from error
