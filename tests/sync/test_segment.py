"""A segment is taken as it was signed, or not at all."""

import random

import msgspec
import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import ForgedError, MalformedError
from sync.schema.model import Group, Lane
from sync.segments.sealing import UNSEALED, DataKey, key_id
from sync.segments.segment import (
    BODY_BYTES_MAX,
    FIRST_PREV,
    BodyHeader,
    Header,
    LogName,
    Place,
    PlainBody,
    TableHeader,
    build_segment,
    check_log_name,
    decompress,
    parse_segment,
)
from sync.segments.signing import signer_id

SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = DataKey(bytes(reversed(range(32))))
LOG = LogName(17, 1 << 40, "s17", Lane.ATTENDANCE)


def build(log: LogName = LOG, seq: int = 1, prev: bytes = FIRST_PREV) -> bytes:
    place = Place(
        log=log, seq=seq, prev=prev, first_row=1, last_row=9, first_stamp=5, last_stamp=50
    )
    bodies = [
        PlainBody(group=Group.DISTRICT, key=KEY, key_id=key_id(KEY), content=b"taps" * 9),
        PlainBody(group=Group.IDENTITY, key=KEY, key_id=key_id(KEY), content=b"cards"),
        PlainBody(group=Group.GRANT, key=None, key_id=UNSEALED, content=b"grants"),
    ]
    signer = (signer_id(SIGNING.public_key()), SIGNING)
    return build_segment(place, [TableHeader(20, 1, 3)], bodies, bytes(16), signer)


def take(wire: bytes) -> list[bytes]:
    """Do all that a receiver with the keys does."""
    segment = parse_segment(wire)
    segment.verify(SIGNING.public_key())
    keys = [KEY, KEY, None]
    return [segment.open(place, keys[place]) for place in range(len(segment.bodies))]


def test_what_was_sealed_is_opened() -> None:
    assert take(build()) == [b"taps" * 9, b"cards", b"grants"]


def test_no_byte_can_be_altered() -> None:
    wire = build()
    for place in range(len(wire)):
        for bit in (1, 128):
            altered = bytearray(wire)
            altered[place] ^= bit
            with pytest.raises((MalformedError, ForgedError)):
                take(bytes(altered))


def test_nothing_can_be_cut_off_or_added() -> None:
    wire = build()
    for length in range(len(wire)):
        with pytest.raises((MalformedError, ForgedError)):
            take(wire[:length])
    with pytest.raises(MalformedError):
        take(wire + b"\x00")


@given(st.binary(max_size=400))
def test_bytes_that_are_no_segment_are_called_malformed(wire: bytes) -> None:
    for each in (wire, b"SNS1" + wire, build()[: len(wire)] + wire):
        with pytest.raises((MalformedError, ForgedError)):
            parse_segment(each)


JUNK_NUMBER = st.one_of(st.integers(-2, 20), st.integers(-(2**63), 2**64 - 1))


@given(
    header=st.builds(
        Header,
        log=st.builds(
            LogName,
            JUNK_NUMBER,
            JUNK_NUMBER,
            st.one_of(st.just("d"), st.text(max_size=70), st.just("s17")),
            st.sampled_from(Lane),
        ),
        seq=JUNK_NUMBER,
        prev=st.sampled_from([FIRST_PREV, b"", bytes(range(32))]),
        signer=st.sampled_from([bytes(8), b""]),
        first_row=JUNK_NUMBER,
        last_row=JUNK_NUMBER,
        first_stamp=JUNK_NUMBER,
        last_stamp=JUNK_NUMBER,
        tables=st.lists(st.builds(TableHeader, JUNK_NUMBER, JUNK_NUMBER, JUNK_NUMBER), max_size=3),
        bodies=st.lists(
            st.builds(
                BodyHeader,
                JUNK_NUMBER,
                st.sampled_from([bytes(8), b"12345678", b""]),
                st.sampled_from([bytes(16), b""]),
                JUNK_NUMBER,
                st.binary(max_size=32),
            ),
            max_size=3,
        ),
    )
)
def test_a_header_of_any_numbers_is_within_bounds_or_refused(header: Header) -> None:
    encoded = msgspec.msgpack.encode(header)
    wire = b"SNS1" + len(encoded).to_bytes(2, "big") + encoded + bytes(64)
    with pytest.raises((MalformedError, ForgedError)):
        parse_segment(wire)  # no body follows, so that even a good header is refused


def test_a_body_opens_only_where_it_was_sealed() -> None:
    first = parse_segment(build())
    moved = parse_segment(build(seq=2, prev=first.header_digest))
    swapped = msgspec.structs.replace(moved.header, bodies=first.header.bodies)
    encoded = msgspec.msgpack.encode(swapped)
    signature = SIGNING.sign(b"schoolnode segment\x00" + encoded)
    wire = b"SNS1" + len(encoded).to_bytes(2, "big") + encoded + signature + b"".join(first.bodies)
    segment = parse_segment(wire)
    segment.verify(SIGNING.public_key())
    with pytest.raises(ForgedError):
        segment.open(0, KEY)


def test_another_key_opens_nothing() -> None:
    with pytest.raises(ForgedError):
        parse_segment(build()).open(0, DataKey(bytes(32)))


def test_only_grants_may_come_unsealed() -> None:
    with pytest.raises(ForgedError, match="only key grants"):
        parse_segment(build()).open(0, None)


def test_a_signature_for_another_purpose_is_none() -> None:
    segment = parse_segment(build())
    other = SIGNING.sign(b"schoolnode fragment\x00" + segment.header_bytes)
    wire = build()[: -len(b"".join(segment.bodies)) - 64] + other + b"".join(segment.bodies)
    with pytest.raises(ForgedError):
        parse_segment(wire).verify(SIGNING.public_key())


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    zeros = bytes(BODY_BYTES_MAX + 1)
    honest = zstandard.ZstdCompressor().compress(zeros)
    assert len(honest) < 1000
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(zeros)
    lying = bytearray(zstandard.ZstdCompressor().compress(bytes(1000)))
    lying[5:7] = (200).to_bytes(2, "little")  # the frame's content size, RFC 8878 §3.1.1.1.4
    small = zstandard.ZstdCompressor().compress(b"taps")
    for packed in (honest, silent, bytes(lying), small + b"\x00", small[:-1], small * 2, b""):
        with pytest.raises(MalformedError):
            decompress(packed)
    assert decompress(small) == b"taps"


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frame_are_called_malformed(packed: bytes) -> None:
    for each in (packed, b"\x28\xb5\x2f\xfd" + packed):
        try:
            decompress(each)
        except MalformedError:
            continue


@pytest.mark.parametrize(
    "log",
    [
        LogName(-1, 1, "d", Lane.CONTROL),
        LogName(2**32, 1, "d", Lane.CONTROL),
        LogName(17, 0, "d", Lane.CONTROL),
        LogName(17, 2**63, "d", Lane.CONTROL),
        LogName(17, 1, "", Lane.CONTROL),
        LogName(17, 1, "district", Lane.CONTROL),
        LogName(17, 1, "s", Lane.CONTROL),
        LogName(17, 1, "s017", Lane.CONTROL),
        LogName(17, 1, "s18", Lane.CONTROL),
        LogName(17, 1, "s1x", Lane.CONTROL),
        LogName(0, 1, "s9999999999", Lane.CONTROL),
        LogName(17, 1, "l", Lane.CONTROL),
        LogName(17, 1, "la/b", Lane.CONTROL),
        LogName(17, 1, "l课", Lane.CONTROL),
        LogName(17, 1, "l" + "x" * 49, Lane.CONTROL),
    ],
)
def test_a_log_that_cannot_be_is_refused(log: LogName) -> None:
    with pytest.raises(MalformedError):
        check_log_name(log)


def test_a_salt_is_never_used_for_two_bodies() -> None:
    salts = [body.salt for body in parse_segment(build()).header.bodies if body.salt]
    assert len(set(salts)) == len(salts) == 2


def test_two_segments_of_one_place_share_no_key_stream() -> None:
    chance = random.Random(3)
    place = Place(
        log=LOG, seq=1, prev=FIRST_PREV, first_row=1, last_row=1, first_stamp=1, last_stamp=1
    )
    signer = (signer_id(SIGNING.public_key()), SIGNING)
    content = chance.randbytes(64)
    body = PlainBody(group=Group.DISTRICT, key=KEY, key_id=key_id(KEY), content=content)
    first, second = (
        parse_segment(build_segment(place, [TableHeader(20, 1, 1)], [body], salt, signer)).bodies[0]
        for salt in (chance.randbytes(16), chance.randbytes(16))
    )
    assert first != second
