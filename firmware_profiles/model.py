"""The shape of a device profile: what a model is, how it is recognised and how it speaks.

A profile is data only. Numbers keep their unit in the field's name; registers are zero-based
protocol addresses (not 4xxxx notation). Unknown keys are refused, so a misspelt key is an error.
"""

from typing import Annotated, Literal, NewType

from msgspec import Meta, Struct

ProfileId = NewType("ProfileId", str)

Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Text = Annotated[str, Meta(max_length=2_000)]
UInt8 = Annotated[int, Meta(ge=0, le=0xFF)]
UInt16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
Baud = Annotated[int, Meta(ge=300, le=921_600)]
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]
Probability = Annotated[float, Meta(ge=0, le=1)]

Kind = Literal["farm_sensor", "card_reader", "camera", "blackboard"]
Tested = Literal["real", "simulated", "documented"]
LinkType = Literal["modbus_rtu", "card_frames", "pjlink", "onvif"]
DataType = Literal["uint16", "int16", "uint32", "int32", "float32"]
Order = Literal["big", "little"]
PollClass = Literal["fast", "normal", "slow"]
Quirk = Literal[
    "one_point_a_read",  # answers reads of a single point only: never coalesce
    "silent_when_unknown",  # stays silent where the standard asks for an exception reply
    "closes_idle_link",  # hangs up a connection that was quiet for a while: normal, reconnect
]


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a statement of the profile comes from, and what it does not confirm."""

    title: Text
    url: Text = ""
    note: Text = ""


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence that a device may be this model, before anything is asked of it."""

    onvif_scopes: tuple[Text, ...] = ()
    usb: tuple[Annotated[str, Meta(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")], ...] = ()
    mdns: tuple[Text, ...] = ()
    banners: tuple[Text, ...] = ()


class Link(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to reach the device.

    ``baud`` lists candidates, most likely first; ``baud_codes`` are the numbers by which the device
    names them in a register. ``quiet_ms`` is how long a line must be silent
    after an error before the next request. ``block_max`` counts registers of one read,
    ``gap_max`` the unwanted registers one read may span.
    """

    type: LinkType
    port: UInt16 | None = None
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

    With ``absent`` the device must refuse the registers (exception 2). ``confidence`` is the
    chance that a device which fits this step alone is this model.
    """

    function: Literal[3, 4]
    register: UInt16
    confidence: Probability
    count: Annotated[int, Meta(ge=1, le=16)] = 1
    expect: tuple[Expectation, ...] = ()
    absent: bool = False


class Bits(Struct, frozen=True, forbid_unknown_fields=True):
    """A field within the raw integer, counted from the least significant bit."""

    first: Annotated[int, Meta(ge=0, le=31)]
    count: Annotated[int, Meta(ge=1, le=32)]


class Span(Struct, frozen=True, forbid_unknown_fields=True):
    """Closed range of engineering values."""

    low: float
    high: float


class Point(Struct, frozen=True, forbid_unknown_fields=True):
    """One value a device reports.

    Modbus points have ``function`` and ``register``; line protocols have ``request``, the text of
    the question. The value is ``raw * scale + offset`` in ``unit``; ``enum`` maps raw values (as
    text) to words and replaces the arithmetic. ``invalid`` lists raw values by which the device
    says that it has no value.
    """

    id: Slug
    capability: Slug
    unit: Annotated[str, Meta(max_length=16)] = ""
    function: Literal[1, 2, 3, 4] | None = None
    register: UInt16 | None = None
    request: Text = ""
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


class Verify(Struct, frozen=True, forbid_unknown_fields=True):
    """How a command's effect is read back: ``expect`` is the point's value, or its ``{value}``."""

    point: Slug
    delay_ms: Milliseconds
    expect: Text


class Interlock(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits that hold even when nobody watches."""

    longest_on_s: Annotated[int, Meta(ge=1, le=86_400)]
    fail_safe: Text


class Command(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing a device can be told; ``values`` maps our words to what goes on the wire.

    ``request`` is text in which ``{value}`` stands for the wire value; an empty ``values`` takes
    any text the request's protocol allows.
    """

    id: Slug
    capability: Slug
    request: Text
    ack: Text
    values: dict[str, str] = {}
    verify: Verify | None = None
    idempotent: bool = False
    settle_ms: Milliseconds = 0
    interlock: Interlock | None = None


class Event(Struct, frozen=True, forbid_unknown_fields=True):
    """Something the device says unasked; ``format`` names the frame, ``topic`` an ONVIF topic."""

    id: Slug
    capability: Slug
    format: Literal["rdm6300", "onvif"]
    topic: Text = ""
    repeat_ms: Milliseconds = 0


class Vector(Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes and what they mean; drives the tests and the simulated device.

    ``encoding`` says whether ``request`` and ``reply`` are hexadecimal bytes or text lines.
    ``values`` are point or event ids with their decoded values.
    """

    name: Text
    reply: Text
    values: dict[Slug, float | str]
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
    quirks: tuple[Quirk, ...] = ()
    vectors: tuple[Vector, ...] = ()

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

    def link(self, link_type: LinkType) -> Link:
        """Return the first link of a type; KeyError when the profile has none."""
        for link in self.links:
            if link.type == link_type:
                return link
        raise KeyError(link_type)
