"""Finding what hangs on serial lines: listen first, then read-only questions by profile.

One register read a candidate unit, never a write; a line in use is left alone. Worst case of a
whole port without devices at 9600 and 4800 baud: 2 s listening + 5 s for displays + 247 x 52 ms +
247 x 64 ms = 36 s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from drivers.discovery.candidate import Candidate
from drivers.discovery.line_search import LineSearch, QuestionLine, SearchReport
from drivers.discovery.serial_ports import FoundPort
from drivers.entities import NowMs
from drivers.modbus_line import RtuLine
from drivers.transports.byte_port import LineSettings
from drivers.transports.port_address import PortAddress, TcpAddress
from drivers.transports.serial_address import SerialAddress
from drivers.transports.serial_port import SerialPort
from drivers.transports.tcp_port import TcpPort
from firmware_profiles.model import Profile

BUDGET_S = 120.0
"""A port where nobody answers takes about 100 s: every unit id at each speed of the profiles."""
QUIET_S = 0.03
SERVER_BAUD = 9600
"""Believed of a line behind a serial server, which alone knows it."""


async def search_port(
    port: FoundPort,
    profiles: Collection[Profile],
    now_ms: NowMs,
    report: SearchReport,
    budget_s: float = BUDGET_S,
) -> list[Candidate]:
    """Search a port nobody uses; SetupError or UnreachableError when it cannot be opened.

    Two seconds of listening, a question to each kind of display, then every unit id at each baud
    rate, likeliest first, until a rate has answers; last, where nobody answered, the questions of
    models that keep silent about what they do not know. Models whose profiles name the port's USB
    id come before the displays. The budget ends the search with what was found so far.
    """
    search = _search_of(port, profiles, now_ms, report)
    settings = search.listening_settings()
    line = SerialPort(port.path, settings)
    try:
        async with asyncio.timeout(budget_s):
            await search.listen(line)
            likely, others = search.rates()
            await _ask_at(likely, line, search, search.sweep)
            await search.ask_displays(line, line.set_baud)
            await _ask_at(others, line, search, search.sweep)
            await _ask_at([*likely, *others], line, search, search.sweep_silent)
    except TimeoutError:
        search.note("the time for this port is over")
    finally:
        line.close()
    return search.found


async def listen_to_port(
    port: FoundPort, profiles: Collection[Profile], now_ms: NowMs, report: SearchReport
) -> list[Candidate]:
    """Hear for two seconds what a port says unasked; raises as ``search_port``."""
    search = _search_of(port, profiles, now_ms, report)
    line = SerialPort(port.path, search.listening_settings())
    try:
        await search.listen(line)
    finally:
        line.close()
    return search.found


def _search_of(
    port: FoundPort, profiles: Collection[Profile], now_ms: NowMs, report: SearchReport
) -> LineSearch:
    address = SerialAddress(path=port.path, baud=SERVER_BAUD)
    return LineSearch(address, profiles, now_ms, report, port.usb)


async def _ask_at(
    rates: Sequence[LineSettings],
    line: SerialPort,
    search: LineSearch,
    ask: Callable[[QuestionLine, Collection[int]], Awaitable[None]],
) -> None:
    """Ask at one speed after the other, until one has answers."""
    for rate in rates:
        if search.found:
            break
        line.set_baud(rate)
        await ask(RtuLine(line, quiet_s=QUIET_S, on_noise=search.hear_noise), ())


async def search_server(
    address: TcpAddress,
    profiles: Collection[Profile],
    now_ms: NowMs,
    report: SearchReport,
    budget_s: float = BUDGET_S,
) -> list[Candidate]:
    """Search a serial line behind a serial server; UnreachableError when that hangs up.

    As ``search_port``, at the one speed that the server was set to.
    """
    search = LineSearch(address, profiles, now_ms, report)
    line = await TcpPort.connect(address.host, address.port, LineSettings(baud=SERVER_BAUD))
    try:
        async with asyncio.timeout(budget_s):
            await search.listen(line)
            await search.ask_displays(line)
            asked = RtuLine(line, quiet_s=QUIET_S, on_noise=search.hear_noise)
            for ask in (search.sweep, search.sweep_silent):
                if not search.found:
                    await ask(asked, ())
    except TimeoutError:
        search.note("the time for this line is over")
    finally:
        line.close()
    return search.found


async def search_bus(
    address: PortAddress,
    bus: QuestionLine,
    profiles: Collection[Profile],
    now_ms: NowMs,
    report: SearchReport,
    skip: Collection[int],
    budget_s: float = 2 * BUDGET_S,
) -> list[Candidate]:
    """Search a bus that runs, between its polls, at its own speed; ``skip`` are adopted ids."""
    search = LineSearch(address, profiles, now_ms, report)
    try:
        async with asyncio.timeout(budget_s):
            await search.sweep(bus, skip)
            if not search.found:
                await search.sweep_silent(bus, skip)
    except TimeoutError:
        search.note("the time for this bus is over")
    return search.found
