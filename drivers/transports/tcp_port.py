"""TCP connections to serial servers and Modbus TCP devices."""

import asyncio
import errno
import socket
from typing import Self

from drivers.errors import SetupError, UnreachableError
from drivers.transports.byte_port import BytePort, LineSettings

CONNECT_S_MAX = 3.0
# A serial server that lost its power says nothing: three unanswered probes after 10 s of silence.
KEEPALIVE_AFTER_S = 10
KEEPALIVE_EVERY_S = 5
KEEPALIVE_PROBES = 3
UNACKNOWLEDGED_MS_MAX = 10_000


class TcpPort(BytePort):
    """One connection; what it carries is the bytes of a serial line, or Modbus TCP frames."""

    # Serial servers gather bytes, and a school's Wi-Fi bridge holds packets back.
    pause_s = 0.3

    def __init__(self, place: str, connection: socket.socket, settings: LineSettings) -> None:
        """Take over a connected, non-blocking socket."""
        self._socket = connection
        super().__init__(place, connection.fileno(), settings)

    @classmethod
    async def connect(cls, host: str, port: int, settings: LineSettings) -> Self:
        """Return a new connection.

        UnreachableError: nobody answers within three seconds. SetupError: the host has no address.
        """
        place = f"{host}:{port}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                family, kind, protocol, _, address = found[0]
                connection = socket.socket(family, kind, protocol)
                try:
                    connection.setblocking(False)
                    await loop.sock_connect(connection, address)
                    _watch(connection)
                except BaseException:
                    connection.close()
                    raise
        except socket.gaierror as error:
            raise SetupError(f"{host} has no address ({error.strerror}); correct it") from error
        except TimeoutError as error:
            raise UnreachableError(f"{place} does not answer; check its power and cable") from error
        except OSError as error:
            raise UnreachableError(_meaning(place, error)) from error
        return cls(place, connection, settings)

    def _close(self) -> None:
        self._socket.close()

    def _loss(self, cause: str) -> str:
        return f"{self.place} hung up ({cause})" if cause else f"{self.place} hung up"


def _watch(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_AFTER_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)


def _meaning(place: str, error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return f"{place} takes no connection; another program may hold it, or its port is another"
    return f"{place} cannot be reached ({error.strerror or error})"
