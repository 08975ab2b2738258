"""The wire as committed bytes: whatever changes them changes it for every node in the field.

The files are made by :func:`make_vectors`; ``python -m tests.sync.test_vectors`` writes them anew.
Bodies are compressed, so another zstd version may make other bytes that open alike; the tests that
open the committed bytes hold in any case.
"""

import json
import random
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sync.exchange.body_coding import maker
from sync.exchange.framing import STREAM_VERSION, FrameReader, frame
from sync.exchange.message import Message, Refusal, parse_message
from sync.exchange.message_packing import MessagePacking
from sync.exchange.range_coding import Bits, Integers, Writer
from sync.logs.log_state import Holding
from sync.persons.vault import PersonVault, read_person_key
from sync.schema.model import GROUPS, Group, Lane
from sync.segments.body import TableColumns, pack_tables, unpack_tables
from sync.segments.body_dictionary import BODY_DICTIONARY
from sync.segments.columnar import Value, decode_column, encode_column
from sync.segments.sealing import (
    SUITE_X25519_SHA256_CHACHA20,
    UNSEALED,
    DataKey,
    KeyId,
    key_id,
    new_data_key,
    recipient_id,
    unwrap,
)
from sync.segments.segment import (
    FIRST_PREV,
    LogName,
    Place,
    PlainBody,
    Segment,
    TableHeader,
    build_segment,
    parse_segment,
)
from sync.segments.signing import signer_id
from tests.sync.hpke_sender import seal

FOLDER = Path(__file__).parents[1] / "vectors" / "sync"
LOG = LogName(17, 0x0123_4567_89AB_CDEF, "s17", Lane.ATTENDANCE)
PURPOSE = "17/s17/district/1"
NAME = "欧阳小明"
Vector = dict[str, Any]

COLUMNS: dict[str, list[Value]] = {
    "constant": [7, 7, 7],
    "deltas": [1_790_000_000_000, 1_790_000_000_977, 1_790_000_001_954],
    "offsets": [40, None, 7],
    "decimals": [21.5, 21.25, None],
    "floats": [0.1 + 0.2, -0.0, float("inf")],
    "dictionary": ["card:door", "card:gate", "card:door", "card:door", None],
    "plain": [b"\x00\x01", None, b""],
    "few integers among many": [1_000 + 65_537 * (place * place % 11) for place in range(128)],
    "three bytes": [0, 2**24 - 1, 5, 2**23],
}


def make_vectors() -> dict[str, Vector]:
    chance = random.Random(2026)
    signing = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
    sealing = X25519PrivateKey.from_private_bytes(chance.randbytes(32))
    ephemeral = X25519PrivateKey.from_private_bytes(chance.randbytes(32))
    key = new_data_key(chance.randbytes)
    first = make_segment(signing, key, chance.randbytes(16))
    second_prev = parse_segment(first).header_digest
    second = make_segment(signing, key, chance.randbytes(16), after=parse_segment(first))
    third = make_segment(signing, key, chance.randbytes(16), after=parse_segment(second))
    wrapped = seal(
        ephemeral,
        sealing.public_key(),
        info=b"schoolnode key grant\x00" + PURPOSE.encode(),
        aad=b"",
        plain=key,
    )
    message = Message(
        version=1,
        incarnation=LOG.incarnation,
        have=[Holding(LogName(0, 5, "d", Lane.CONTROL), 3, 2, second_prev[:8], frozen=False)],
        segments=[first],
        credit_bytes=262_144,
        waiting_bytes=0,
        retry_after_ms=0,
        now_ms=1_790_000_000_000,
        refused=[Refusal("17/0000000000000005/s17/bulk", 4, "an example")],
        taken=0,
    )
    return {
        "columns": {
            name: {
                "values": [show(value) for value in values],
                "encoded": msgspec.msgpack.encode(encode_column(values)).hex(),
            }
            for name, values in COLUMNS.items()
        },
        "grant": {
            "recipient_private": sealing.private_bytes_raw().hex(),
            "recipient_id": recipient_id(sealing.public_key()).hex(),
            "purpose": PURPOSE,
            "suite": SUITE_X25519_SHA256_CHACHA20,
            "key": key.hex(),
            "key_id": key_id(key).hex(),
            "wrapped": wrapped.hex(),
        },
        "segment": {
            "signing_public": signing.public_key().public_bytes_raw().hex(),
            "signer": signer_id(signing.public_key()).hex(),
            "key": key.hex(),
            "wire": first.hex(),
            "hollow": parse_segment(first).hollow().hex(),
            "header_digest": second_prev.hex(),
            "table": 20,
            "row_numbers": [11, 12, 13],
            "columns_by_group": {
                group: {str(number): values for number, values in columns.items()}
                for group, columns in BODIES.items()
            },
        },
        "message": {"wire": msgspec.msgpack.encode(message).hex()},
        "stream": make_stream(message, (first, second, third), key),
        "body_dictionary": {"bytes": BODY_DICTIONARY.hex()},
        "person_cell": make_cell(chance),
        "range_coder": make_range_coder(),
    }


BODIES: dict[Group, dict[int, list[Value]]] = {
    Group.DISTRICT: {
        1: [1_790_000_000_000, 1_790_000_000_977, 1_790_000_001_954],
        2: ["card:door", "card:door", "card:gate"],
        3: [40, None, 7],
    },
    Group.IDENTITY: {5: ["04:A1", None, "04:B2"]},
}


def make_tables(group: Group) -> list[TableColumns]:
    columns = [(number, encode_column(values)) for number, values in BODIES[group].items()]
    return [TableColumns(20, 1, 3, encode_column([11, 12, 13]), columns)]


def packing_with(key: DataKey) -> MessagePacking:
    return MessagePacking(lambda _log, name: key if name == key_id(key) else None)


def make_stream(whole: Message, segments: tuple[bytes, bytes, bytes], key: DataKey) -> Vector:
    """What a caller sends and hears.

    A whole vector, a segment that follows, a receipt for it that names the key, and a segment told
    by its cells.
    """
    caller, hub = packing_with(key), packing_with(key)
    _, second, third = segments
    following = msgspec.structs.replace(
        whole, incarnation=0, have=[], segments=[second], refused=[], taken=1
    )
    digest = parse_segment(second).header_digest
    receipt = msgspec.structs.replace(
        following, segments=[], taken=2, have=[Holding(LOG, 2, 2, digest[:8], frozen=False)]
    )
    sent = [caller.pack(whole), caller.pack(following)]
    for packed in sent:
        hub.unpack(packed)
    heard = hub.pack(receipt)
    caller.unpack(heard)
    sent.append(caller.pack(msgspec.structs.replace(following, segments=[third], taken=2)))
    return {
        "sent": (bytes([STREAM_VERSION]) + b"".join(map(frame, sent)) + frame(b"")).hex(),
        "segments": [wire.hex() for wire in segments],
        "heard": (bytes([STREAM_VERSION]) + frame(heard) + frame(b"")).hex(),
        "key": key.hex(),
        "maker": maker().hex(),
    }


def make_range_coder() -> Vector:
    """Integers of one model, decisions of another, and even bits, in this order."""
    chance = random.Random(7)
    integers = [0, 1, -1, 2, 3, -4, 977, 977, 978, -(2**63), 2**64 - 1, 1_790_000_000_000]
    integers += [chance.choice((977, 978, 1_954)) for _ in range(40)]
    decisions = [int(chance.random() < 0.9) for _ in range(100)]
    even = [(chance.randrange(1 << bits), bits) for bits in (1, 5, 8, 16)]
    numbers, choices, writer = Integers(), Bits(1), Writer()
    for number in integers:
        writer.integer(numbers, number)
    for decision in decisions:
        writer.bit(choices, 0, decision)
    for value, bits in even:
        writer.even(value, bits)
    return {
        "integers": integers,
        "decisions": decisions,
        "even": even,
        "coded": writer.finish().hex(),
    }


def make_cell(chance: random.Random) -> Vector:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vault.db"
        with closing(PersonVault(path, chance.randbytes)) as vault:
            person = vault.new_person()
            sealed = vault.seal(person, "name", NAME)
            key = read_person_key(path, person) or b""
    return {
        "key": key.hex(),
        "person": person,
        "column": "name",
        "text": NAME,
        "sealed": sealed.hex(),
    }


def make_segment(
    signing: Ed25519PrivateKey, key: DataKey, salt: bytes, after: Segment | None = None
) -> bytes:
    place = Place(
        log=LOG,
        seq=1 if after is None else after.header.seq + 1,
        prev=FIRST_PREV if after is None else after.header_digest,
        first_row=11 if after is None else after.header.last_row + 1,
        last_row=13 if after is None else after.header.last_row + 3,
        first_stamp=1_790_000_000_000 << 16,
        last_stamp=(1_790_000_001_954 << 16) + 1,
    )
    bodies = [
        PlainBody(group=group, key=key, key_id=key_id(key), content=pack_tables(make_tables(group)))
        for group in BODIES
    ]
    bodies.append(PlainBody(group=Group.GRANT, key=None, key_id=UNSEALED, content=b"grants"))
    signer = (signer_id(signing.public_key()), signing)
    return build_segment(place, [TableHeader(20, 1, 3)], bodies, salt, signer)


def show(value: Value) -> object:
    if isinstance(value, float):
        return {"binary64": value.hex()}
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def committed(name: str) -> Vector:
    vector: Vector = json.loads((FOLDER / f"{name}.json").read_text())
    return vector


def written(vector: Vector) -> str:
    plain = msgspec.json.decode(msgspec.json.encode(vector))
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(
    "name",
    [
        "columns",
        "grant",
        "segment",
        "message",
        "stream",
        "body_dictionary",
        "person_cell",
        "range_coder",
    ],
)
def test_the_wire_is_what_was_committed_byte_for_byte(name: str) -> None:
    assert written(make_vectors()[name]) == (FOLDER / f"{name}.json").read_text()


def test_committed_columns_decode() -> None:
    for name, vector in committed("columns").items():
        encoded = msgspec.msgpack.decode(bytes.fromhex(vector["encoded"]))
        decoded = decode_column(encoded, len(vector["values"]))
        assert [show(value) for value in decoded] == vector["values"], name


def test_every_kind_of_column_has_a_vector() -> None:
    kinds = {bytes.fromhex(vector["encoded"])[1] for vector in committed("columns").values()}
    assert kinds == set(range(8))


def test_the_committed_grant_opens() -> None:
    vector = committed("grant")
    own = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["recipient_private"]))
    name = KeyId(bytes.fromhex(vector["key_id"]))
    wrapped = bytes.fromhex(vector["wrapped"])
    key = unwrap(wrapped, vector["suite"], own, vector["purpose"].encode(), name)
    assert key.hex() == vector["key"]
    assert recipient_id(own.public_key()).hex() == vector["recipient_id"]


def test_the_committed_segment_opens_to_its_rows() -> None:
    vector = committed("segment")
    segment = parse_segment(bytes.fromhex(vector["wire"]))
    signing = Ed25519PrivateKey.from_private_bytes(random.Random(2026).randbytes(32))
    assert signing.public_key().public_bytes_raw().hex() == vector["signing_public"]
    segment.verify(signing.public_key())
    key = DataKey(bytes.fromhex(vector["key"]))
    for place, body in enumerate(segment.header.bodies):
        group = GROUPS[body.group]
        if group is Group.GRANT:
            assert segment.open(place, None) == b"grants"
            continue
        (table,) = unpack_tables(segment.open(place, key))
        assert decode_column(table.row_numbers, table.rows) == [11, 12, 13]
        decoded = {number: decode_column(column, table.rows) for number, column in table.columns}
        assert decoded == BODIES[group]


def test_the_committed_segment_says_without_bodies_what_its_header_said() -> None:
    vector = committed("segment")
    hollow = parse_segment(bytes.fromhex(vector["hollow"]))
    assert hollow.is_hollow
    assert hollow.header_digest.hex() == vector["header_digest"]


def test_the_committed_message_is_read() -> None:
    message = parse_message(bytes.fromhex(committed("message")["wire"]))
    assert message.incarnation == LOG.incarnation
    assert parse_segment(message.segments[0]).header.log == LOG
    assert message.have[0].log.audience == "d"


def test_the_committed_stream_is_understood() -> None:
    vector = committed("stream")
    key = DataKey(bytes.fromhex(vector["key"]))
    caller, hub = packing_with(key), packing_with(key)
    first, second, third, question = FrameReader().feed(bytes.fromhex(vector["sent"]))
    told = [hub.unpack(first), hub.unpack(second)]
    segments = [bytes.fromhex(wire) for wire in vector["segments"]]
    assert [wire for message in told for wire in message.segments] == segments[:2]
    assert (told[0].complete, told[1].complete, question) == (True, False, b"")
    for message in told:
        caller.pack(message)  # a receipt may name what this end has sent
    packed, answer = FrameReader().feed(bytes.fromhex(vector["heard"]))
    (receipt,) = caller.unpack(packed).have
    assert (receipt.log, receipt.stored, answer) == (LOG, 2, b"")
    assert parse_segment(segments[2]).bodies[0] not in third
    (restored,) = hub.unpack(third).segments
    # Another zstd version makes another body of the same cells; its name would keep it sealed.
    assert (restored == segments[2]) == (maker().hex() == vector["maker"])


if __name__ == "__main__":
    for each, content in make_vectors().items():
        (FOLDER / f"{each}.json").write_text(written(content))
