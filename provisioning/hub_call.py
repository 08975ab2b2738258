"""One bounded HTTPS exchange of a box with its hub."""

import ssl
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from provisioning.enrolment_wire import MESSAGE_BYTES_MAX, RefusalAnswer, decode
from provisioning.errors import ImpostorError, ProtocolError, RefusedError, UnreachableError

CALL_DEADLINE_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HubAddress:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def call_hub(
    address: HubAddress,
    path: str,
    context: ssl.SSLContext,
    *,
    body: bytes | None = None,
    deadline_s: float = CALL_DEADLINE_S,
) -> bytes:
    """GET ``path``, or POST ``body`` to it, on a connection of its own; return at most 16 KiB.

    Raises UnreachableError (try again), ImpostorError (``context`` did not accept the server, and
    nothing was sent), RefusedError (the hub's no) or ProtocolError (no such answer).
    """
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=1, force_close=True),
                timeout=aiohttp.ClientTimeout(total=deadline_s),
                auto_decompress=False,
            ) as session,
            session.request(
                "GET" if body is None else "POST",
                f"https://{address}{path}",
                data=body,
                headers={"Content-Type": "application/json"} if body is not None else None,
                # A redirect would carry the secret to wherever it points.
                allow_redirects=False,
            ) as response,
        ):
            return _judged(address, response.status, await _bounded(response))
    except aiohttp.ClientConnectorCertificateError as error:
        raise ImpostorError(
            f"{address} is not the district's hub, nothing was sent to it: "
            f"{_reason(error.certificate_error)}"
        ) from error
    except aiohttp.ClientConnectorSSLError as error:
        raise UnreachableError(
            f"{address} does not speak TLS 1.3 as a hub does; check the port"
        ) from error
    except TimeoutError as error:
        raise UnreachableError(
            f"{address} did not answer within {deadline_s:g} s; try again, a join code stays good"
        ) from error
    except (aiohttp.ServerConnectionError, aiohttp.ClientPayloadError) as error:
        raise UnreachableError(
            f"{address} hung up before it answered; try again, a join code stays good"
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(
            f"{address} cannot be reached ({type(error).__name__}); check the network and try "
            "again, a join code stays good"
        ) from error


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MESSAGE_BYTES_MAX:
            raise ProtocolError(f"the hub's answer is over {MESSAGE_BYTES_MAX} bytes")
    return bytes(content)


def _judged(address: HubAddress, status: int, content: bytes) -> bytes:
    if status == HTTPStatus.OK:
        return content
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RefusedError(decode(content, RefusalAnswer).reason)
    raise UnreachableError(f"{address} has trouble of its own (status {status}); try again later")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(error)
