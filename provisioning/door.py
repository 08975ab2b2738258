"""The door of a port: who calls is counted before anything is read, TLS's handshake included.

One address holds so many connections and no more, so whoever opens all it can leaves room for
the others. Each connection ends by the limits of its protocol, and a handshake by ``HANDSHAKE_S``.
"""

import asyncio
import errno
import logging
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Never

from provisioning.caller_log import Sparing

_log = logging.getLogger(__name__)

HANDSHAKE_S = 20.0
HANG_UP_S = 5.0
"""How long TLS's farewell is waited for."""
FILES_BESIDE = 1024
"""Open files that a program needs beside a port's connections, its other ports' among them."""
CONNECTIONS_MIN = 64
_ACCEPTS_A_TURN = 16
# accept(2): errors of the network that are pending on the new connection, not on ours.
_CALLERS_OWN = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    }
)
_NO_ROOM_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortLimits:
    """Connections of a port and of one address (of IPv6: of one /64), and seconds.

    ``idle_s`` bounds the time to a request's whole header, the first and each further one;
    ``linger_s`` how long a body that nobody reads may go on coming.
    """

    connections: int
    of_an_address: int
    idle_s: float = 30.0
    linger_s: float = 10.0


class Crowd:
    """Who holds how many connections of one port."""

    def __init__(self, limits: PortLimits, sparing: Sparing) -> None:
        self._room = room_for(limits.connections)
        self._of_an_address = min(limits.of_an_address, self._room)
        self._sparing = sparing
        self.held: Counter[str] = Counter()
        self.total = 0

    def enter(self, address: str) -> bool:
        """Count one more connection; False when there is no room for it."""
        place = _place(address)
        if self.total >= self._room or self.held[place] >= self._of_an_address:
            self.tell(
                f"{address} is hung up on: it holds {self.held[place]} of the {self.total} open"
                " connections; it may have more when it ends some"
            )
            return False
        self.held[place] += 1
        self.total += 1
        return True

    def tell(self, text: str) -> None:
        """Log what may come again and again, sparingly."""
        if self._sparing.take():
            _log.warning("%s", text)

    def leave(self, address: str) -> None:
        place = _place(address)
        self.total -= 1
        self.held[place] -= 1
        if not self.held[place]:
            del self.held[place]


class Door:
    """One listening socket, whose callers speak what ``protocol`` makes."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext | None,
        crowd: Crowd,
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._protocol = protocol
        self._context = context
        self._crowd = crowd

    async def run(self) -> Never:
        """Let callers in until cancelled; what goes wrong with one concerns no other."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                for _ in range(_ACCEPTS_A_TURN):
                    try:
                        connection, (address, *_) = await loop.sock_accept(self._listening)
                    except OSError as error:
                        if error.errno not in _CALLERS_OWN:
                            self._crowd.tell(f"nobody is let in for a moment: {error}")
                            await asyncio.sleep(_NO_ROOM_S)
                        continue
                    if self._crowd.enter(address):
                        held = _Held(connection, address, self._crowd)
                        tasks.create_task(self._let_in(held))
                    else:
                        connection.close()
                await asyncio.sleep(0)

    async def _let_in(self, connection: "_Held") -> None:
        handshake_s = None if self._context is None else HANDSHAKE_S
        hang_up_s = None if self._context is None else HANG_UP_S
        letting_in = asyncio.get_running_loop().connect_accepted_socket(
            self._protocol,
            connection,
            ssl=self._context,
            ssl_handshake_timeout=handshake_s,
            ssl_shutdown_timeout=hang_up_s,
        )
        (outcome,) = await asyncio.gather(letting_in, return_exceptions=True)
        if isinstance(outcome, BaseException):
            connection.close()
            if not isinstance(outcome, OSError):  # those of TLS are OSErrors: a caller's
                _log.error("a caller was not let in", exc_info=outcome)


class _Held(socket.socket):
    """A connection that counts until its event loop gives it up."""

    def __init__(self, connection: socket.socket, address: str, crowd: Crowd) -> None:
        family, kind, protocol = connection.family, connection.type, connection.proto
        super().__init__(family, kind, protocol, fileno=connection.detach())
        self._crowd: Crowd | None = crowd
        self._address = address

    def close(self) -> None:
        """End it: so asyncio gives a connection up."""
        super().close()
        self._leave()

    def detach(self) -> int:
        """Hand the descriptor out: so uvloop gives a connection up, which it closes itself."""
        self._leave()
        return super().detach()

    def _leave(self) -> None:
        crowd, self._crowd = self._crowd, None
        if crowd is not None:
            crowd.leave(self._address)


def room_for(connections: int) -> int:
    """Have the system let the program open so many connections; return how many it lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    room = max(CONNECTIONS_MIN, soft - FILES_BESIDE)
    _log.warning(
        "the system lets this program open %d files: a port takes %d connections instead of %d;"
        " raise the limit (LimitNOFILE of the service, ulimit -n)",
        soft,
        room,
        connections,
    )
    return room


def _place(address: str) -> str:
    """Return what is counted as one: of IPv6 a subscriber has a /64."""
    if ":" not in address:
        return address
    plain = address.partition("%")[0]
    return str(IPv6Network((plain, 64), strict=False))
