"""The shape of a device profile: what a model is, how it is recognised and how it speaks.

A profile is data only. Numbers keep their unit in the field's name; registers are zero-based
protocol addresses (not 4xxxx notation). Unknown keys are refused, so a misspelt key is an error.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, NewType

from msgspec import Meta, Struct

from firmware_profiles.quirks import Quirk, QuirkId

ProfileId = NewType("ProfileId", str)

Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Text = Annotated[str, Meta(max_length=2_000)]
UInt8 = Annotated[int, Meta(ge=0, le=0xFF)]
UInt16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
Baud = Annotated[int, Meta(ge=300, le=921_600)]
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]
Probability = Annotated[float, Meta(ge=0, le=1)]

Kind = Literal[
    "farm_sensor",
    "farm_actuator",
    "card_reader",
    "attendance_terminal",
    "camera",
    "blackboard",
    "sports_gateway",
    "safety_input",
    "class_card",
]
Tested = Literal["real", "simulated", "documented"]
LinkType = Literal[
    "modbus_rtu",  # RTU frames on a serial line, or the same bytes through a serial server
    "modbus_tcp",  # MBAP frames
    "card_frames",  # a card reader that speaks unasked
    "pjlink",
    "samsung_mdc",
    "ifp_ascii",  # BenQ IFP and ViewSonic ViewBoard: nine ASCII bytes
    "lg_serial",
    "nec_display",
    "nec_projector",
    "onvif",
    "adms",  # ZKTeco: the device pushes over HTTP
    "isapi",  # Hikvision: the device pushes over HTTP
    "text_lines",  # lines of text on a serial line or TCP connection
]
MODBUS: tuple[LinkType, ...] = ("modbus_rtu", "modbus_tcp")
DataType = Literal[
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
    "bcd16",  # four decimal digits, one a nibble
    "bcd32",
]
REGISTERS: Mapping[DataType, int] = MappingProxyType(
    {
        "uint16": 1,
        "int16": 1,
        "uint32": 2,
        "int32": 2,
        "uint64": 4,
        "int64": 4,
        "float32": 2,
        "float64": 4,
        "bcd16": 1,
        "bcd32": 2,
    }
)
"""Registers a value takes."""
Order = Literal["big", "little"]
PollClass = Literal["fast", "normal", "slow"]


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a statement of the profile comes from, and what it does not confirm."""

    title: Text
    url: Text = ""
    note: Text = ""


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence that a device may be this model, before anything is asked of it.

    ``onvif_scopes``: beginnings of what a camera announces; they choose its profile. ``usb``: the
    ``vid:pid`` of the adapter that the device brings; a search of its port asks for it first.
    """

    onvif_scopes: tuple[Text, ...] = ()
    usb: tuple[Annotated[str, Meta(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")], ...] = ()


class Link(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to reach the device.

    ``unit`` is the address the device leaves the factory with on this link (Modbus unit, display
    id); ``port`` the TCP port it listens on.
    ``baud`` lists candidates, most likely first; ``baud_codes`` are the numbers by which the device
    names them in a register. ``quiet_ms`` is how long a line must be silent
    after an error before the next request. ``block_max`` counts registers of one read,
    ``gap_max`` the unwanted registers one read may span. ``unconfirmed`` marks a link of which no
    document and no device confirms something (its port, its speed): a source's note says what.
    """

    type: LinkType
    port: UInt16 | None = None
    unit: UInt8 | None = None
    baud: tuple[Baud, ...] = ()
    baud_codes: dict[Baud, UInt16] = {}
    data_bits: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    dtr: bool = False
    rts: bool = False
    gap_ms: Milliseconds = 5
    timeout_ms: Milliseconds = 500
    quiet_ms: Milliseconds = 100
    block_max: Annotated[int, Meta(ge=1, le=125)] = 16
    gap_max: Annotated[int, Meta(ge=0, le=124)] = 0
    unconfirmed: bool = False


class Expectation(Struct, frozen=True, forbid_unknown_fields=True):
    """What one register of a probe's answer must be; an empty one accepts any value.

    ``unit``: the unit id that was asked. ``baud``: the link's code for the line's speed.
    """

    unit: bool = False
    baud: bool = False
    low: UInt16 = 0
    high: UInt16 = 0xFFFF


class ProbeStep(Struct, frozen=True, forbid_unknown_fields=True):
    """One read-only question; every step must fit.

    Functions 1 and 2 read bits, 3 and 4 registers. With ``absent`` the device must refuse the
    registers (exception 2). ``confidence`` is the chance that a device which fits this step alone
    is this model. ``unconfirmed`` as in a :class:`Point`.
    """

    function: Literal[1, 2, 3, 4]
    register: UInt16
    confidence: Probability
    count: Annotated[int, Meta(ge=1, le=16)] = 1
    expect: tuple[Expectation, ...] = ()
    absent: bool = False
    unconfirmed: bool = False


class Bits(Struct, frozen=True, forbid_unknown_fields=True):
    """A field within the raw integer, counted from the least significant bit."""

    first: Annotated[int, Meta(ge=0, le=63)]
    count: Annotated[int, Meta(ge=1, le=64)]


class Span(Struct, frozen=True, forbid_unknown_fields=True):
    """Closed range of engineering values."""

    low: float
    high: float


class Point(Struct, frozen=True, forbid_unknown_fields=True):
    """One value a device reports.

    Modbus points have ``function`` and ``register``; line protocols have ``request``, the text of
    the question, and may have ``reply``, the text of its answer in which ``{value}`` stands for
    the wire value, ``?`` for any one character and ``*`` at the end for anything more
    (``{value:02x}`` and ``{value:03d}`` read numbers of that many digits).
    Capability ``firmware`` marks the point that tells the device's version. Of a
    value in several registers ``word_order`` says which register comes first, ``byte_order`` which
    byte of each; ``bcd`` types hold decimal digits. The value is ``raw * scale + offset`` in
    ``unit``; ``enum`` maps raw values (as text) to words and replaces the arithmetic. ``invalid``
    lists raw values by which the device says that it has no value. ``unconfirmed`` marks a place or
    a meaning that no document and no device confirms: a source's note says what is doubtful.
    """

    id: Slug
    capability: Slug
    unit: Annotated[str, Meta(max_length=16)] = ""
    function: Literal[1, 2, 3, 4] | None = None
    register: UInt16 | None = None
    request: Text = ""
    reply: Text = ""
    dtype: DataType = "uint16"
    byte_order: Order = "big"
    word_order: Order = "big"
    bits: Bits | None = None
    scale: float = 1.0
    offset: float = 0.0
    valid: Span | None = None
    invalid: tuple[int, ...] = ()
    enum: dict[str, str] = {}
    poll: PollClass = "normal"
    deadband: Annotated[float, Meta(ge=0)] = 0.0
    unconfirmed: bool = False


class Verify(Struct, frozen=True, forbid_unknown_fields=True):
    """How a command's effect is read back.

    ``expect`` is what the point reads then: a fixed word, ``{value}`` for the wire value that was
    sent (translated by the point's ``enum``), or ``{word}`` for our word or number itself.
    """

    point: Slug
    delay_ms: Milliseconds
    expect: Text


class Interlock(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits that hold even when nobody watches.

    Every argument but ``fail_safe`` counts as on: after ``longest_on_s`` the box sends
    ``fail_safe``, and so it does when it starts, stops or loses whoever switched on.
    """

    longest_on_s: Annotated[int, Meta(ge=1, le=86_400)]
    fail_safe: Text


class Write(Struct, frozen=True, forbid_unknown_fields=True):
    """How a Modbus command goes on the wire: functions 5 and 15 set coils, 6 and 16 registers.

    The raw number is the command's ``values`` entry (``"1"``, ``"0x0100"``), or for a number within
    the command's ``range`` ``(number - offset) / scale``. Functions 6 and 16 write it as ``dtype``
    in the given orders; 15 sets ``count`` coils to its bits, the least significant first.
    """

    function: Literal[5, 6, 15, 16]
    register: UInt16
    dtype: DataType = "uint16"
    byte_order: Order = "big"
    word_order: Order = "big"
    count: Annotated[int, Meta(ge=1, le=64)] = 1
    scale: float = 1.0
    offset: float = 0.0


class Command(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing a device can be told; ``values`` maps our words to what goes on the wire.

    Modbus commands have ``write``. Others have ``request``, text in which ``{value}`` stands for
    the wire value and ``{unit}`` for the device's address (``{value:02x}`` writes a number in two
    hexadecimal digits), and ``ack``, by which the device accepts it (``?`` and ``*`` as in a
    point's ``reply``). ``range`` allows numbers; with neither ``values`` nor ``range`` any text the
    protocol allows is taken, and ``choices`` names the point by which the device lists, separated
    by spaces, what it takes. ``unconfirmed`` as in a :class:`Point`.
    """

    id: Slug
    capability: Slug
    request: Text = ""
    ack: Text = ""
    write: Write | None = None
    values: dict[str, str] = {}
    range: Span | None = None
    choices: Slug | None = None
    verify: Verify | None = None
    idempotent: bool = False
    settle_ms: Milliseconds = 0
    interlock: Interlock | None = None
    unconfirmed: bool = False


LineField = Literal["band", "bpm", "moving", "station", "wearer", "result", "unit"]


class LineFormat(Struct, frozen=True, forbid_unknown_fields=True):
    """How one kind of text line is read; other lines are passed over.

    ``json`` lines are objects: ``fields`` name their keys (``a.b`` for a key within a key). Others
    are divided at ``separator``: ``fields`` name columns, the first is ``"1"``. ``starts`` is what
    such a line begins with, counted as column 1. ``nmea`` is a sum behind ``*`` at its end
    (NMEA 0183: exclusive or of what stands between ``$`` and ``*``, two hexadecimal digits).
    ``where`` are further fields with the text they must have, ``fixed`` our fields that the line
    does not tell, ``words`` station names as the line has them and as we call them; numbers are
    multiplied by ``scale``.
    """

    style: Literal["json", "separated"]
    fields: dict[LineField, Annotated[str, Meta(min_length=1, max_length=64)]]
    separator: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    starts: Annotated[str, Meta(max_length=32)] = ""
    checksum: Literal["none", "nmea"] = "none"
    where: dict[str, str] = {}
    fixed: dict[LineField, Text] = {}
    words: dict[str, str] = {}
    scale: dict[LineField, float] = {}


class Event(Struct, frozen=True, forbid_unknown_fields=True):
    """Something the device says unasked, or an edge the box sees.

    ``format`` names the frame; ``topic`` is an ONVIF topic. An ``edge`` happens when ``point``
    comes to read ``becomes`` (a word of its enum) and still does after ``debounce_ms``; when the
    box starts, a point that already reads so is an edge as well. A ``line`` has the capability
    ``heart_rate`` or ``fitness_result``. ``unconfirmed`` marks an event of which no document and no
    device confirms something (its topic, one form of its frame): a source's note says what.
    """

    id: Slug
    capability: Slug
    format: Literal["rdm6300", "wiegand_uart", "onvif", "adms", "isapi", "line", "edge"]
    topic: Text = ""
    repeat_ms: Milliseconds = 0
    point: Slug | None = None
    becomes: Text = ""
    debounce_ms: Milliseconds = 0
    line: LineFormat | None = None
    unconfirmed: bool = False


class Firmware(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of some versions of the device's own program; the first that fits counts.

    ``versions`` is a range as in ``firmware_range`` (see :mod:`firmware_profiles.firmware`).
    ``update`` is the version to go to, empty when there is none; ``applied_by`` says whether a
    person must do it, by ``how``, or the box can.
    """

    versions: Text
    state: Literal["good", "outdated", "faulty"]
    reason: Text
    update: Text = ""
    applied_by: Literal["person", "vendor", "nobody"] = "person"
    how: Text = ""
    url: Text = ""


class Vector(Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes and what they mean; drives the tests and the simulated device.

    ``encoding`` says whether ``request`` and ``reply`` are hexadecimal bytes or text lines.
    ``values`` are point or event ids with their decoded values. With ``command`` the request is
    what ``argument`` of that command puts on the wire, and the reply accepts it.
    """

    name: Text
    reply: Text
    values: dict[Slug, float | str] = {}
    command: Slug | None = None
    argument: Text = ""
    request: Text = ""
    encoding: Literal["hex", "text"] = "hex"
    source: Text = ""


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """One device model."""

    schema: Literal[1]
    id: Slug
    version: Annotated[int, Meta(ge=1)]
    kind: Kind
    vendor: Text
    models: tuple[Text, ...]
    firmware_range: Text
    license: Text
    tested: Tested
    sources: tuple[Source, ...]
    links: Annotated[tuple[Link, ...], Meta(min_length=1)]
    name: Text = ""
    match: Match = Match()
    probe: tuple[ProbeStep, ...] = ()
    points: tuple[Point, ...] = ()
    commands: tuple[Command, ...] = ()
    events: tuple[Event, ...] = ()
    firmware: tuple[Firmware, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    vectors: tuple[Vector, ...] = ()

    @property
    def quirk_ids(self) -> frozenset[QuirkId]:
        """The quirks, however well they are known."""
        return frozenset(quirk.id for quirk in self.quirks)

    def point(self, name: str) -> Point:
        """Return the point called ``name``; KeyError when the profile has none."""
        for point in self.points:
            if point.id == name:
                return point
        raise KeyError(name)

    def command(self, name: str) -> Command:
        """Return the command called ``name``; KeyError when the profile has none."""
        for command in self.commands:
            if command.id == name:
                return command
        raise KeyError(name)

    def link(self, *link_types: LinkType) -> Link:
        """Return the first link of one of the types; KeyError when the profile has none."""
        for link in self.links:
            if link.type in link_types:
                return link
        raise KeyError(*link_types)
