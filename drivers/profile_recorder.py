"""Records what a real device says into vectors; asks only what reads, hides whose card it was."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import msgspec

from drivers.card_reader import FORMATS
from drivers.codecs import pjlink
from drivers.codecs.card_frames import CardFrame, encode_card_frame
from drivers.codecs.modbus import ReadReply, ReadRequest, Reply
from drivers.codecs.modbus_points import decode_point
from drivers.codecs.modbus_rtu import encode_reply_rtu, encode_rtu
from drivers.codecs.modbus_tcp import encode_reply_tcp, encode_tcp
from drivers.codecs.wiegand import encode_line
from drivers.displays.framed_link import FRAMINGS
from drivers.displays.profile_words import read_point
from drivers.entities import Quality
from drivers.errors import ProtocolError, SetupError
from drivers.modbus_line import Line, RtuLine, SilentUnitError
from drivers.modbus_tcp_line import TcpLine
from drivers.planner import plan_blocks
from drivers.simulators.profile_speakers import quoted
from drivers.transports.byte_port import BytePort
from drivers.transports.port_address import PortAddress, TcpAddress, open_port
from drivers.transports.serial_address import line_settings
from firmware_profiles.model import MODBUS, REGISTERS, Link, Profile, Vector

LISTEN_S = 10.0
"""How long a device that speaks unasked is listened to."""

PAUSE_S = 0.3
"""A silence this long ends the answer to a quoted question."""

VECTORS_MAX = 64
_REPLY_BYTES_MAX = 1024
_ENCODERS = {"rdm6300": encode_card_frame, "wiegand_uart": encode_line}


async def record(
    profile: Profile, address: PortAddress, listen_s: float = LISTEN_S
) -> list[Vector]:
    """Return one vector an exchange, its values as the profile reads them.

    Modbus devices are asked their probe and their points, displays their points, others the
    questions of their vectors that carry no command; what speaks unasked is listened to for
    ``listen_s``. Nothing is ever written to a device. Card numbers are replaced by invented ones,
    the same for the same card.

    Raises SetupError, UnreachableError or ProtocolError when there is nothing to record.
    """
    over = address.scheme if isinstance(address, TcpAddress) else "serial"
    speaks = profile.links[0].type
    if speaks in MODBUS:
        speaks = "modbus_tcp" if over == "modbus" else "modbus_rtu"
    try:
        link = profile.link(speaks)
    except KeyError as error:
        raise SetupError(f"{profile.id} is not spoken to at {address}; use another") from error
    if link.type in {"onvif", "adms", "isapi"}:
        raise SetupError(f"{link.type} devices are not recorded over a line; quote their messages")
    settings = line_settings(profile, link.type, address.baud or next(iter(link.baud), 9600))
    port = await open_port(address, settings)
    source = f"recorded from a device over {over}"
    try:
        if link.type in MODBUS:
            unit = address.unit if address.unit is not None else link.unit or 1
            line: Line = TcpLine(port)
            if link.type == "modbus_rtu":
                line = RtuLine(port, quiet_s=link.quiet_ms / 1000, gap_s=link.gap_ms / 1000)
            return await _record_modbus(profile, link, unit, line, source)
        if link.type == "card_frames":
            return await _record_cards(profile, port, listen_s, source)
        if link.type in FRAMINGS:
            return await _record_display(profile, link, port, source)
        if link.type == "pjlink":
            return await _record_pjlink(profile, port, link.timeout_ms / 1000, source)
        return await _record_quoted(profile, port, link.timeout_ms / 1000, source)
    finally:
        port.close()


async def _record_modbus(
    profile: Profile, link: Link, unit: int, line: Line, source: str
) -> list[Vector]:
    vectors: list[Vector] = []
    trouble: SilentUnitError | ProtocolError | None = None
    for request in list(dict.fromkeys(_questions(profile, link, unit)))[:VECTORS_MAX]:
        try:
            reply = await line.ask(request, link.timeout_ms / 1000)
        except (SilentUnitError, ProtocolError) as error:
            trouble = error
        else:
            vectors.append(_exchange(profile, link, request, reply, source))
    if not vectors and trouble is not None:
        raise trouble
    return vectors


def _questions(profile: Profile, link: Link, unit: int) -> Iterator[ReadRequest]:
    for step in profile.probe:
        yield ReadRequest(
            unit=unit, function=step.function, address=step.register, count=step.count
        )
    for block in plan_blocks(profile, unit, link):
        yield block.request


def _exchange(
    profile: Profile, link: Link, request: ReadRequest, reply: Reply, source: str
) -> Vector:
    """Return the bytes of an exchange that was heard whole: they follow from what they mean."""
    if link.type == "modbus_tcp":
        heard, said = encode_tcp(request, 1), encode_reply_tcp(request, reply, 1)
    else:
        heard, said = encode_rtu(request), encode_reply_rtu(request, reply)
    values = dict(_values(profile, request, reply)) if isinstance(reply, ReadReply) else {}
    name = f"function {request.function}, 0x{request.address:04X}, {request.count} read"
    return _vector(name, _hex(heard), _hex(said), source, values)


def _values(
    profile: Profile, request: ReadRequest, reply: ReadReply
) -> Iterator[tuple[str, float | str]]:
    for point in profile.points:
        start = (point.register or 0) - request.address
        width = 1 if point.function in {1, 2} else REGISTERS[point.dtype]
        if point.function == request.function and 0 <= start <= request.count - width:
            found = decode_point(point, reply.values[start:])
            if found.quality is Quality.GOOD and found.value is not None:
                yield point.id, found.value


async def _record_cards(
    profile: Profile, port: BytePort, listen_s: float, source: str
) -> list[Vector]:
    event_format = profile.events[0].format
    decoder = FORMATS[event_format]()
    invented: dict[str, str] = {}
    vectors: list[Vector] = []
    loop = asyncio.get_running_loop()
    until = loop.time() + listen_s
    while (remaining_s := until - loop.time()) > 0 and len(vectors) < VECTORS_MAX:
        for event in decoder.feed(await port.read(remaining_s)):
            if isinstance(event, CardFrame) and event.card not in invented:
                card = f"{len(invented) + 1:0{len(event.card)}X}"
                invented[event.card] = card
                values: dict[str, float | str] = {profile.events[0].id: card}
                frame = _hex(_ENCODERS[event_format](card))
                vectors.append(_vector(f"card {len(invented)}", "", frame, source, values))
    if not vectors:
        raise ProtocolError(f"no card was presented in {listen_s:.0f} s; present one meanwhile")
    return vectors


async def _record_display(
    profile: Profile, link: Link, port: BytePort, source: str
) -> list[Vector]:
    framing = FRAMINGS[link.type](1 if link.unit is None else link.unit)
    vectors: list[Vector] = []
    for question in dict.fromkeys(point.request for point in profile.points):
        asked = framing.encode_question(question)
        answers: list[str] = []
        said = b""
        async for data in _ask(port, asked, link.timeout_ms / 1000):
            said += data
            answers += framing.receive_answers(data)
            if answers:
                break
        if len(answers) == 1:
            values = dict(_shown(profile, question, answers[0]))
            name = ", ".join(values) or f"{question} is refused"
            vectors.append(_vector(name, _hex(asked), _hex(said), source, values))
        framing.clear()
    return _some(profile, vectors)


async def _record_pjlink(
    profile: Profile, port: BytePort, timeout_s: float, source: str
) -> list[Vector]:
    greeting = await port.read(timeout_s)
    if not greeting.startswith(b"PJLINK 0"):
        raise SetupError(f"{profile.id}: the display wants a password; switch it off to record")
    vectors: list[Vector] = []
    for question in dict.fromkeys(point.request for point in profile.points):
        said = b""
        async for data in _ask(port, pjlink.encode(question), timeout_s):
            said += data
            if said.endswith(b"\r"):
                break
        answer = said.decode(errors="replace").strip()
        if answer:
            values = dict(_shown(profile, question, answer))
            name = ", ".join(values) or f"{question} is refused"
            vector = _vector(name, question, answer, source, values)
            vectors.append(msgspec.structs.replace(vector, encoding="text"))
    return _some(profile, vectors)


def _shown(profile: Profile, question: str, answer: str) -> Iterator[tuple[str, float | str]]:
    for point in profile.points:
        if point.request == question:
            with suppress(ProtocolError):
                yield point.id, read_point(point, answer)


async def _record_quoted(
    profile: Profile, port: BytePort, timeout_s: float, source: str
) -> list[Vector]:
    vectors: list[Vector] = []
    for vector in profile.vectors[:VECTORS_MAX]:
        if vector.command is not None or not vector.request or vector.encoding != "hex":
            continue
        asked = quoted(vector, vector.request)
        said = b"".join([data async for data in _ask(port, asked, timeout_s)])
        if said:
            vectors.append(_vector(vector.name, vector.request, _hex(said), source))
    return _some(profile, vectors)


async def _ask(port: BytePort, question: bytes, timeout_s: float) -> AsyncIterator[bytes]:
    """Yield what comes until the device pauses, nothing when it keeps silent."""
    await port.read(0)
    await port.write(question)
    heard = 0
    while data := await port.read(PAUSE_S if heard else timeout_s):
        heard += len(data)
        if heard > _REPLY_BYTES_MAX:
            raise ProtocolError(
                f"over {_REPLY_BYTES_MAX} bytes answer one question; no such device"
            )
        yield data


def _some(profile: Profile, vectors: list[Vector]) -> list[Vector]:
    if not vectors:
        raise ProtocolError(f"{profile.id}: no question was answered; check address and power")
    return vectors


def _vector(
    name: str, request: str, reply: str, source: str, values: dict[str, float | str] | None = None
) -> Vector:
    return Vector(name=name, request=request, reply=reply, values=values or {}, source=source)


def _hex(data: bytes) -> str:
    return data.hex(" ").upper()
