"""Proves a profile's vectors: what its quoted bytes mean by the product's own codecs.

The shape and the rules of a profile are checked where profiles live; what its bytes say needs the
codecs, one proof for each way to speak. A profile whose way has no proof here is not proved.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

from drivers.cameras.event_states import EventStates
from drivers.card_reader import FORMATS
from drivers.codecs import adms, isapi, pull_point
from drivers.codecs.card_frames import CardFrame
from drivers.codecs.modbus import ReadReply, ReadRequest, Reply, Request
from drivers.codecs.modbus_commands import encode_command
from drivers.codecs.modbus_points import WIDTH, decode_point
from drivers.codecs.modbus_rtu import RtuReplyDecoder, decode_request_rtu
from drivers.codecs.modbus_tcp import TcpFrameDecoder, read_tcp_reply, read_tcp_request
from drivers.codecs.text_lines import HeartLine, ResultLine, read_line
from drivers.displays.exchange_proof import prove_display
from drivers.displays.framed_link import FRAMINGS
from drivers.entities import DeviceId, Measurement, Quality
from drivers.errors import DriverError, ProtocolError
from firmware_profiles.lint import Flaw
from firmware_profiles.model import MODBUS, LinkType, Profile, Vector

Proof = Callable[[Profile, Vector], Iterator[str]]
"""Yields what a vector's bytes say otherwise than the vector claims."""
_REMEDY = "quote the bytes again from the source, or correct what they mean"


def find_broken_vectors(profile: Profile) -> Iterator[Flaw]:
    """Yield each claim of a vector that its bytes do not bear out, and points never shown."""
    proof = PROOFS.get(profile.links[0].type)
    if proof is None:
        return
    for index, vector in enumerate(profile.vectors):
        for fact in proof(profile, vector):
            keys = ("vectors", str(index))
            yield Flaw(keys, f"vector {vector.name!r}: {fact}", _REMEDY)
    if profile.links[0].type not in MODBUS:
        return
    shown = {name for vector in profile.vectors for name in vector.values}
    for index, point in enumerate(profile.points):
        if point.id not in shown:
            fact = f"no vector shows {point.id}"
            yield Flaw(("points", str(index), "id"), fact, "quote an exchange that holds it")


def read_exchange(profile: Profile, vector: Vector) -> Iterator[tuple[Request, Reply]]:
    """Yield the Modbus request and reply of a vector; nothing when its bytes are broken."""
    with suppress(ProtocolError):
        yield _READ[profile.links[0].type](vector)


def _read_rtu(vector: Vector) -> tuple[Request, Reply]:
    request = decode_request_rtu(bytes.fromhex(vector.request))
    if request is None:
        raise ProtocolError("its request is incomplete")
    reply = RtuReplyDecoder(request).feed(bytes.fromhex(vector.reply))
    if reply is None:
        raise ProtocolError("its reply is incomplete")
    return request, reply


def _read_tcp(vector: Vector) -> tuple[Request, Reply]:
    asked = TcpFrameDecoder().feed(bytes.fromhex(vector.request))
    answered = TcpFrameDecoder().feed(bytes.fromhex(vector.reply))
    if len(asked) != 1 or len(answered) != 1:
        raise ProtocolError("request and reply are not one whole frame each")
    request = read_tcp_request(asked[0])
    return request, read_tcp_reply(request, answered[0])


_READ: Mapping[LinkType, Callable[[Vector], tuple[Request, Reply]]] = MappingProxyType(
    {"modbus_rtu": _read_rtu, "modbus_tcp": _read_tcp}
)


def _prove_modbus(profile: Profile, vector: Vector) -> Iterator[str]:
    try:
        request, reply = _READ[profile.links[0].type](vector)
    except ProtocolError as error:
        yield str(error)
        return
    if vector.command is not None:
        try:
            sent = encode_command(profile.command(vector.command), request.unit, vector.argument)
        except DriverError as error:
            yield str(error)
            return
        if sent != request:
            yield f"{vector.command} {vector.argument} is {sent}, not {request}"
    if not vector.values:
        return
    if not isinstance(request, ReadRequest) or not isinstance(reply, ReadReply):
        yield "only an answered read gives values"
        return
    for name, expected in vector.values.items():
        yield from _prove_value(profile, name, expected, request, reply)


def _prove_value(
    profile: Profile, name: str, expected: float | str, request: ReadRequest, reply: ReadReply
) -> Iterator[str]:
    point = profile.point(name)
    start = (point.register or 0) - request.address
    width = 1 if point.function in {1, 2} else WIDTH[point.dtype]
    if point.function != request.function or start < 0 or start + width > request.count:
        yield f"{name} is not in what was read"
        return
    found = decode_point(point, reply.values[start:])
    if not _is_same(found.value, expected):
        yield f"{name} is {found.value}, not {expected}"
    elif found.quality is not Quality.GOOD:
        yield f"{name}: {found.reason}"


def _is_same(found: float | str | None, expected: float | str) -> bool:
    if isinstance(found, str) or isinstance(expected, str) or found is None:
        return found == expected
    # A document prints fewer digits than a float holds.
    return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-6)


def _prove_card(profile: Profile, vector: Vector) -> Iterator[str]:
    decoders = [FORMATS[event.format]() for event in profile.events if event.format in FORMATS]
    events = decoders[0].feed(bytes.fromhex(vector.reply)) if decoders else []
    cards = [event.card for event in events if isinstance(event, CardFrame)]
    if cards != list(vector.values.values()):
        yield f"its bytes hold the cards {cards}"


def _prove_line(profile: Profile, vector: Vector) -> Iterator[str]:
    """Hold ``heart_rate = "07: 132"`` or ``fitness_result = "run_50m 1001: 8.25"`` against it."""
    try:
        told = read_line(vector.reply.encode(), profile.events)
    except ProtocolError as error:
        yield str(error)
        return
    match told:
        case HeartLine():
            found = {told.event: f"{told.band}: {told.bpm}"}
        case ResultLine():
            found = {told.event: f"{told.station} {told.wearer}: {told.result:g}"}
        case None:
            found = {}
    if found != vector.values:
        yield f"it tells {found}"


def _prove_camera(profile: Profile, vector: Vector) -> Iterator[str]:
    """Hold a quoted scope, or with a request the notification a pull brought, against it."""
    if vector.request:
        yield from _prove_notification(profile, vector)
        return
    scope = unquote(vector.reply)
    if not any(scope.startswith(prefix) for prefix in profile.match.onvif_scopes):
        yield f"{scope} is none of the scopes the profile is known by"


def _prove_notification(profile: Profile, vector: Vector) -> Iterator[str]:
    try:
        told = pull_point.read_notification(vector.reply)
    except ProtocolError as error:
        yield str(error)
        return
    states = EventStates(DeviceId(profile.id), profile.events, "")
    found = {
        meant.point: meant.value
        for meant in states.take([told], 0, 0)
        if isinstance(meant, Measurement)
    }
    if found != vector.values:
        yield f"it tells {found}"


def _prove_adms(_profile: Profile, vector: Vector) -> Iterator[str]:
    query = dict(parse_qsl(vector.request.partition("?")[2]))
    found: list[tuple[str, float | str]] = []
    try:
        match query.get("table", "").upper():
            case "ATTLOG":
                punches = adms.read_attlog(vector.reply).punches
            case "RTLOG":
                punches = adms.read_rtlog(vector.reply).punches
            case _:
                punches = ()
                users, _ = adms.read_enrolled(vector.reply)
                found += [("user", f"{user.number} {user.card}".rstrip()) for user in users]
    except ProtocolError as error:
        yield str(error)
        return
    found += [("tap", f"{one.number or one.card} {one.local.isoformat()}") for one in punches]
    if dict(found) != vector.values:
        yield f"its text says {dict(found)}"


def _prove_isapi(_profile: Profile, vector: Vector) -> Iterator[str]:
    try:
        event = isapi.read_push(vector.request.rpartition(" ")[2], vector.reply.encode())
    except ProtocolError as error:
        yield str(error)
        return
    found = {}
    if isinstance(event, isapi.AccessEvent):
        found = {"tap": f"{event.card} {event.number} {event.at.isoformat()}"}
    if found != vector.values:
        yield f"its text says {found}"


PROOFS: Mapping[LinkType, Proof] = MappingProxyType(
    {
        "modbus_rtu": _prove_modbus,
        "modbus_tcp": _prove_modbus,
        "card_frames": _prove_card,
        "pjlink": prove_display,
        **dict.fromkeys(FRAMINGS, prove_display),
        "onvif": _prove_camera,
        "text_lines": _prove_line,
        "adms": _prove_adms,
        "isapi": _prove_isapi,
    }
)
