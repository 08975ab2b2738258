"""HTTP to one ISAPI terminal: bounded, never redirected, the password only as Digest."""

from ipaddress import AddressValueError, IPv4Address
from urllib.parse import urlsplit

import aiohttp

from drivers.codecs.digest import Credentials
from drivers.errors import ProtocolError, RefusedError, SetupError, UnreachableError

ANSWER_BYTES_MAX = 1024 * 1024
TIMEOUT_S = 8.0
_UNAUTHORIZED = 401
_OK = 200


def parse_terminal_address(text: str) -> tuple[IPv4Address, int]:
    """Return host and port of ``http://10.1.2.3:80``; SetupError for anything else."""
    try:
        parts = urlsplit(text)
        host, port = IPv4Address(parts.hostname or ""), parts.port or 80
    except (AddressValueError, ValueError) as error:
        raise SetupError(f"{text!r} is no terminal's address; write http://10.1.2.3") from error
    if parts.scheme != "http" or parts.username is not None or parts.path.strip("/"):
        raise SetupError(f"{text!r} is no terminal's address; write http://10.1.2.3")
    return host, port


class IsapiClient:
    """Asks one terminal; close it when it is no longer needed."""

    def __init__(self, address: str, credentials: Credentials) -> None:
        host, port = parse_terminal_address(address)
        self._origin = f"http://{host}:{port}"
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(aiohttp.DigestAuthMiddleware(credentials.user, credentials.password),),
        )

    async def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the answer's body.

        Raises UnreachableError, RefusedError for a wrong password, ProtocolError for another no or
        too long an answer.
        """
        kind = "application/json" if path.endswith("format=json") else "application/xml"
        try:
            async with self._session.request(
                method,
                self._origin + path,
                data=body,
                headers={"Content-Type": kind} if body is not None else {},
                allow_redirects=False,
            ) as response:
                answer = await response.content.read(ANSWER_BYTES_MAX + 1)
                while chunk := await response.content.read(ANSWER_BYTES_MAX + 1 - len(answer)):
                    answer += chunk
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or f"silent for {TIMEOUT_S:g} s"
            raise UnreachableError(
                f"{self._origin}: {reason}; check the terminal's power and cable"
            ) from error
        if status == _UNAUTHORIZED:
            raise RefusedError(
                f"{self._origin}: user name or password refused; enter the terminal's own"
            )
        if status != _OK:
            raise ProtocolError(f"{self._origin}{path.partition('?')[0]}: answered {status}")
        if len(answer) > ANSWER_BYTES_MAX:
            raise ProtocolError(f"{self._origin}: an answer of more than {ANSWER_BYTES_MAX} bytes")
        return answer

    async def close(self) -> None:
        await self._session.close()
