"""The fragment record: exact bytes, strict limits, sealing that opens for no one else."""

import contextlib
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import ForgedError, KeyMissingError, MalformedError, SyncError
from sync.lessons.fragment_log import (
    BODY_BYTES_MAX,
    NUMBER_MAX,
    TIME_MAX,
    TIMESCALE_MAX,
    Header,
    Kind,
    LessonId,
    Record,
    Stream,
    TakeId,
    encode_header,
    is_sound,
    parse_header,
    parse_lesson_id,
    parse_record,
    parse_take_id,
)
from sync.lessons.fragment_sealing import (
    GROUP_HASHES_MAX,
    FragmentOpener,
    MediaTimes,
    TakeSealer,
    digest,
    groups_of,
    new_take,
    sign_group,
    split_init,
    verify_group,
)
from sync.segments.sealing import DataKey, KeyId, key_id

LESSON = LessonId("jx-2025-031")
TAKE = TakeId(bytes.fromhex("0102030405060708"))
KEY = DataKey(bytes(range(32)))
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TIMES = MediaTimes(decode_time=7200, duration=3600, timescale=90000, capture_ms=1_760_000_000_123)

headers = st.builds(
    Header,
    lesson=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,47}\Z").map(LessonId),
    take=st.binary(min_size=8, max_size=8).map(TakeId),
    kind=st.sampled_from([Kind.MEDIA, Kind.INIT]),
    track=st.integers(1, 15),
    number=st.integers(0, NUMBER_MAX),
    keyframe=st.just(value=False),
    decode_time=st.integers(0, TIME_MAX),
    duration=st.integers(0, 2**32 - 1),
    timescale=st.integers(1, TIMESCALE_MAX),
    capture_ms=st.integers(0, TIME_MAX),
    key_id=st.binary(min_size=8, max_size=8).filter(any).map(KeyId),
    body_bytes=st.integers(1, BODY_BYTES_MAX),
)


def sealed(number: int = 2, data: bytes = b"moof+mdat") -> Record:
    return TakeSealer(LESSON, TAKE, KEY).seal_media(1, number, data, TIMES, keyframe=True)


def opener(key: DataKey = KEY, lesson: LessonId = LESSON) -> FragmentOpener:
    return FragmentOpener(lesson, {key_id(key): key})


def test_a_record_has_exactly_the_documented_bytes() -> None:
    record = sealed()
    header = (
        b"SF" + bytes((1, 0, 1, 1, 11)) + b"jx-2025-031" + TAKE
        + (2).to_bytes(8, "big") + (7200).to_bytes(8, "big") + (3600).to_bytes(4, "big")
        + (90000).to_bytes(4, "big") + (1_760_000_000_123).to_bytes(8, "big")
        + key_id(KEY) + (9 + 16).to_bytes(4, "big")
    )  # fmt: skip
    key = HKDF(
        algorithm=hashes.SHA256(), length=32, salt=TAKE, info=b"schoolnode fragment v1\x01"
    ).derive(KEY)
    body = ChaCha20Poly1305(key).encrypt((2).to_bytes(12, "big"), b"moof+mdat", header)
    assert record.wire == header + body


@given(headers)
def test_any_header_survives_the_wire(header: Header) -> None:
    encoded = encode_header(header)
    assert parse_header(encoded + b"body") == (header, len(encoded))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"SF\x01" + tail))
def test_arbitrary_bytes_are_a_record_or_malformed_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        parse_record(data)


@given(st.integers(0), st.integers(1, 255))
def test_a_record_with_one_byte_changed_is_never_opened(at: int, flip: int) -> None:
    wire = bytearray(sealed().wire)
    wire[at % len(wire)] ^= flip
    with pytest.raises(SyncError):
        opener().open(parse_record(bytes(wire)))


@given(st.integers(0))
def test_a_record_cut_short_is_malformed(at: int) -> None:
    wire = sealed().wire
    with pytest.raises(MalformedError):
        parse_record(wire[: at % len(wire)])


@given(st.binary(min_size=1, max_size=2000), st.integers(0, 1000))
def test_what_is_sealed_opens_with_the_key(data: bytes, number: int) -> None:
    assert opener().open(parse_record(sealed(number, data).wire)) == data


def test_a_box_without_the_key_is_told_which_key_it_lacks() -> None:
    with pytest.raises(KeyMissingError, match=key_id(KEY).hex()):
        opener(DataKey(bytes(32))).open(sealed())


def test_a_fragment_of_another_lesson_is_forged_even_under_the_same_key() -> None:
    with pytest.raises(ForgedError, match="another-lesson"):
        opener(lesson=LessonId("another-lesson")).open(sealed())


def test_a_fragment_of_another_take_or_track_does_not_open_in_this_one() -> None:
    record = sealed()
    for changed in (
        TakeSealer(LESSON, TakeId(bytes(8)), KEY).seal_media(1, 2, b"x", TIMES, keyframe=True),
        TakeSealer(LESSON, TAKE, KEY).seal_media(3, 2, b"x", TIMES, keyframe=True),
    ):
        mixed = record.associated + changed.body.ljust(record.header.body_bytes, b"\0")
        with pytest.raises(ForgedError):
            opener().open(parse_record(mixed))


def test_a_number_is_never_sealed_twice() -> None:
    sealer = TakeSealer(LESSON, TAKE, KEY)
    sealer.seal_media(1, 5, b"first", TIMES, keyframe=True)
    for number in (5, 4):
        with pytest.raises(ValueError, match="new take"):
            sealer.seal_media(1, number, b"second", TIMES, keyframe=True)


def test_an_init_and_a_fragment_of_one_number_do_not_share_a_nonce() -> None:
    sealer = TakeSealer(LESSON, TAKE, KEY)
    init = sealer.seal_init(1, "video/mp4", b"same", 0)
    media = sealer.seal_media(1, 0, b"\x09video/mp4same", TIMES, keyframe=True)
    assert init.body[:8] != media.body[:8]


def test_an_init_carries_its_media_type() -> None:
    mime = 'video/mp4; codecs="avc1.42E01F"'
    record = TakeSealer(LESSON, TAKE, KEY).seal_init(1, mime, b"ftyp+moov", 0)
    assert split_init(opener().open(record)) == (mime, b"ftyp+moov")


@given(st.binary(max_size=40))
def test_an_opened_init_is_split_or_malformed(opened: bytes) -> None:
    try:
        mime, segment = split_init(opened)
    except MalformedError:
        return
    assert opened == bytes((len(mime),)) + mime.encode("ascii") + segment


def test_two_takes_have_different_ids() -> None:
    assert len({new_take() for _ in range(100)}) == 100


@pytest.mark.parametrize("text", ["", ".hidden", "a/b", "a" * 49, "课", "a b", "../x", "a\n"])
def test_what_could_leave_the_folder_is_no_lesson_id(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_lesson_id(text)


@pytest.mark.parametrize("text", ["", "0102", "0" * 17, "ABCDEF0102030405", "g" * 16, "0x" * 8])
def test_a_take_id_is_sixteen_lower_case_digits(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_take_id(text)


def test_odd_tracks_are_picture_and_even_ones_sound() -> None:
    assert [is_sound(track) for track in (1, 2, 3, 4)] == [False, True, False, True]


named = st.tuples(
    st.builds(Stream, st.sampled_from([Kind.MEDIA, Kind.INIT]), st.integers(1, 3)),
    st.integers(0, 3000),
)


@given(st.sets(named, max_size=3000), st.booleans())
def test_groups_cover_exactly_the_records_given(
    names: set[tuple[Stream, int]],
    final: bool,
) -> None:
    records = [
        (stream, number, hashlib.sha256(b"%d" % number).digest()) for stream, number in names
    ]
    groups = groups_of(records, final=final)
    covered = [
        (found.stream, found.first + index, one)
        for number, group in enumerate(groups)
        for found, digests in verify_group(
            parse_record(sign_group(LESSON, TAKE, number, group, 0, SIGNING).wire),
            SIGNING.public_key(),
        ).ranges
        for index, one in enumerate(digests)
    ]
    assert sorted(covered) == sorted(records)
    assert [group.final for group in groups] == [False] * (len(groups) - 1) + [final] * bool(groups)
    assert len(groups) <= len(records) // GROUP_HASHES_MAX + len(records) // 32 + 1


def signature() -> Record:
    record = sealed()
    [group] = groups_of([(record.header.stream, 2, digest(record))], final=True)
    return sign_group(LESSON, TAKE, 0, group, 0, SIGNING)


def test_a_signature_by_another_school_is_forged() -> None:
    other = Ed25519PrivateKey.generate()
    with pytest.raises(ForgedError):
        verify_group(signature(), other.public_key())


@given(st.integers(0), st.integers(1, 255))
def test_a_signature_with_one_byte_changed_is_refused(at: int, flip: int) -> None:
    wire = bytearray(signature().wire)
    wire[at % len(wire)] ^= flip
    with pytest.raises((ForgedError, MalformedError)):
        verify_group(parse_record(bytes(wire)), SIGNING.public_key())


@given(st.binary(max_size=120))
def test_even_a_signed_group_is_read_strictly(body: bytes) -> None:
    """A flagship's box may be taken over: what it signs is still only bytes."""
    template = signature().header
    header = Header(
        **{name: getattr(template, name) for name in Header.__slots__ if name != "body_bytes"},
        body_bytes=len(body) + 64,
    )
    clear = encode_header(header)
    signed = SIGNING.sign(b"schoolnode fragment group\x00" + clear + body)
    record = parse_record(clear + body + signed)
    try:
        group = verify_group(record, SIGNING.public_key())
    except MalformedError:
        return
    assert group.ranges or group.final
