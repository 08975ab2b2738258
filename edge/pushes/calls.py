"""What terminals are answered: HTTP on one side, the adopted terminals and the inbox on the other.

Nothing is read of a stranger beyond what names it, and nothing is written.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from ipaddress import ip_address

from aiohttp import web

from drivers.codecs import isapi
from drivers.codecs.adms import check_serial
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence, Need
from drivers.entities import NowMs
from drivers.errors import ProtocolError, RefusedError, SetupError, UnreachableError
from drivers.terminals.push import Push
from edge.devices.terminals import ADMS_PREFIX, ISAPI_PREFIX, Terminals
from edge.pushes.limits import Allowances, Strangers

_log = logging.getLogger(__name__)

BODY_BYTES_MAX = 2 * 1024 * 1024
BODY_S_MAX = 20.0
EVENT_BYTES_MAX = 64 * 1024
"""An ISAPI event stands before its picture: more is not read of anybody."""
UNDER_WAY_MAX = 16
UNDER_WAY_PER_ADDRESS = 4
PARAMETERS_MAX = 32
TOLD_MAX = 64
ADMS_PROFILE = "zkteco-adms"
ISAPI_PROFILE = "hikvision-acs"
_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (RefusedError, 403, "refused"),
    (ProtocolError, 400, "cannot be read"),
    (UnreachableError, 503, "come again"),
    (SetupError, 503, "come again"),
    (TimeoutError, 408, "too slow"),
)


class Calls:
    """``met`` is told of terminals that nobody adopted, while they are expected."""

    def __init__(
        self, terminals: Terminals, met: Callable[[Candidate], None], now_ms: NowMs
    ) -> None:
        self._terminals = terminals
        self._met = met
        self._now_ms = now_ms
        self._allowances = Allowances()
        self._strangers = Strangers()
        self._told: set[str] = set()
        self._under_way: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route("*", "/iclock/{endpoint:[a-z.]{1,24}}", self.adms),
            web.post("/isapi", self.isapi),
            web.post("/", self.isapi),
        ]

    async def adms(self, request: web.Request) -> web.Response:
        return await self._guarded(request, self._answer_adms)

    async def isapi(self, request: web.Request) -> web.Response:
        return await self._guarded(request, self._answer_isapi)

    async def _answer_adms(self, request: web.Request, address: str) -> str:
        serial = check_serial(_parameter(request, "sn"))
        terminal = self._terminals.by_serial(serial)
        if terminal is None:
            told = [_parameter(request, "pushver"), request.headers.get("User-Agent", "")]
            self._meet(
                ADMS_PREFIX + serial, f"push:{serial}", address, told, ADMS_PROFILE, Need.NOTHING
            )
            # A refusal is no acknowledgement: it keeps its records until it is adopted.
            raise RefusedError(f"{serial} waits to be adopted")
        push = Push(
            endpoint=request.match_info["endpoint"].removesuffix(".aspx"),
            address=address,
            query=dict(list(request.query.items())[:PARAMETERS_MAX]),
        )
        if request.method != "GET":
            terminal.check(push)  # nothing is read of who is not the terminal
            push = replace(push, body=await _read(request, BODY_BYTES_MAX))
        return await terminal.answer(push)

    async def _answer_isapi(self, request: web.Request, address: str) -> str:
        content_type = request.headers.get("Content-Type", "")[:256]
        event = isapi.read_push(content_type, await _read_begin(request, EVENT_BYTES_MAX))
        terminal = self._terminals.by_mac(event.mac)
        if terminal is None:
            if event.mac:
                self._meet(
                    ISAPI_PREFIX + event.mac,
                    f"http://{address}" if event.port is None else f"http://{address}:{event.port}",
                    address,
                    [],
                    ISAPI_PROFILE,
                    Need.PASSWORD,
                )
            raise RefusedError(f"{event.mac or 'a nameless terminal'} waits to be adopted")
        await terminal.take(event, address)
        return "OK"

    async def _guarded(
        self, request: web.Request, answer: Callable[[web.Request, str], Awaitable[str]]
    ) -> web.Response:
        """Answer within the limits; what goes wrong becomes a status a terminal understands."""
        address = request.remote or ""
        refusal = self._refusal(request, address)
        if refusal is not None:
            return self._answer(*refusal)
        self._under_way[address] += 1
        try:
            return self._answer(await answer(request, address))
        except tuple(kind for kind, _, _ in _STATUS) as error:
            self._tell_once(address, error)
            status, text = next((s, t) for kind, s, t in _STATUS if isinstance(error, kind))
            return self._answer(text, status)
        finally:
            self._under_way -= Counter((address,))  # forgets who has none left

    def _refusal(self, request: web.Request, address: str) -> tuple[str, int] | None:
        """Return what is answered to who is not listened to at all."""
        if not _is_of_a_lan(address):
            return "terminals of the school's network only", 403
        if not self._allowances.take(address, asyncio.get_running_loop().time()):
            return "slow down", 429
        of_address = self._under_way[address]
        if self._under_way.total() >= UNDER_WAY_MAX or of_address >= UNDER_WAY_PER_ADDRESS:
            return "come again", 503
        if (request.content_length or 0) > BODY_BYTES_MAX:
            return "too much at once", 413
        return None

    def _meet(
        self, identity: str, where: str, address: str, told: list[str], profile: str, needs: Need
    ) -> None:
        if not self._terminals.expects_strangers:
            self._strangers.forget()
            return
        if not self._strangers.is_to_be_told(identity, address):
            return
        self._terminals.note_met(identity.partition(":")[2], address)
        said = [text[:40] for text in told if text.isprintable() and text]
        self._met(
            Candidate(
                identity=identity,
                kind=DeviceKind.ATTENDANCE_TERMINAL,
                address=where,
                name=identity.partition(":")[2],
                profile=profile,
                evidence=(
                    Evidence(
                        method="called the box",
                        detail=", ".join([f"from {address}", *said]),
                        observed_ms=self._now_ms(),
                    ),
                ),
                confidence=0.9,
                needs=needs,
            )
        )

    def _answer(self, text: str, status: int = 200) -> web.Response:
        # Terminals set their clocks by Date: it is the box's time, which the hub may correct.
        date = format_datetime(datetime.fromtimestamp(self._now_ms() / 1000, UTC), usegmt=True)
        headers = {"Date": date, "Server": "SchoolNode"}
        return web.Response(text=text, status=status, headers=headers)

    def _tell_once(self, address: str, reason: Exception) -> None:
        """Log the first refusal of a caller: a flood on the LAN must not fill the log."""
        if address not in self._told and len(self._told) < TOLD_MAX:
            self._told.add(address)
            _log.warning("a terminal's call from %s: %s", address, reason or "too slow")


async def _read(request: web.Request, size_max: int) -> bytes:
    """Return a request's body; raises ProtocolError when it is too long, TimeoutError."""
    body = await _read_begin(request, size_max + 1)
    if len(body) > size_max:
        raise ProtocolError(f"more than {size_max} bytes in one push; refused")
    return body


async def _read_begin(request: web.Request, size: int) -> bytes:
    """Return at most the first ``size`` bytes of a body; ProtocolError when it breaks off."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            while len(body) < size:
                chunk = await request.content.read(size - len(body))
                if not chunk:
                    break
                body += chunk
    except (web.RequestPayloadError, ConnectionError) as error:
        raise ProtocolError("a body broke off, or is not what its header says") from error
    return bytes(body)


def _parameter(request: web.Request, name: str) -> str:
    return next((value for key, value in request.query.items() if key.lower() == name), "")


def _is_of_a_lan(address: str) -> bool:
    try:
        return ip_address(address).is_private
    except ValueError:
        return False
