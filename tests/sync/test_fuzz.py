"""Every decoder of outside bytes, fed with damaged messages: it raises nothing but its errors.

Examples are the committed vectors and what two nodes say to each other; a decoder that this file
does not name fails a test.
"""

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.courier.parts import parse_part
from sync.errors import SyncError, parse_reason
from sync.exchange.body_coding import read_content
from sync.exchange.framing import STREAM_VERSION, FrameReader, frame
from sync.exchange.message import parse_message
from sync.exchange.message_packing import MessagePacking
from sync.folding.refold import parse_name
from sync.history.checkpoint import parse_digests, parse_record
from sync.history.horizon import parse_stable
from sync.history.snapshot_part import unpack_part
from sync.keys.own_keys import parse_purpose
from sync.lessons.caption_tracks import Piece, open_captions
from sync.lessons.fragment_exchange import decode_from_box, decode_from_hub
from sync.lessons.fragment_log import LessonId, parse_header, parse_lesson_id, parse_take_id
from sync.lessons.fragment_log import parse_record as parse_fragment
from sync.lessons.fragment_objects import parse_batch, parse_number, parse_object
from sync.lessons.fragment_parts import PartJoiner
from sync.lessons.fragment_sealing import parse_group, split_init
from sync.lessons.lesson_events import decode_event
from sync.lessons.lesson_minutes import parse_rungs
from sync.lessons.materials import decode_chunk
from sync.lessons.tracks import parse_return_log
from sync.persons.recovery import parse_recovery_code
from sync.persons.restore import parse_picture
from sync.persons.vault_backup import VaultShare, open_backup, read_header
from sync.readable import readable
from sync.rosters.files import open_roster_files
from sync.rosters.reading import open_reading
from sync.rosters.sealed import open_roster, parse_roster
from sync.schema.model import Lane
from sync.segments.body import unpack_tables
from sync.segments.columnar import decode_column
from sync.segments.sealing import SUITE_X25519_SHA256_CHACHA20, DataKey, KeyId, key_id, unwrap
from sync.segments.segment import LogName, decompress, parse_segment
from tests.damaged_bytes import damaged
from tests.decoders import ROOT, decoders_in, unnamed
from tests.sync.district import District
from tests.sync.roster_files import DISTRICT as ROSTER_FILES
from tests.sync.roster_files import archive
from tests.sync.turns import TurnSession

VECTORS = ROOT / "tests" / "vectors"
KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))
ROSTER = json.loads((VECTORS / "sync" / "roster.json").read_bytes())
ROSTER_KEY = X25519PrivateKey.from_private_bytes(bytes.fromhex(ROSTER["box_private"]))
SNAPSHOT = LogName(17, 5, "s17", Lane.SNAPSHOT)


def as_text(decode: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: decode(data.decode("latin-1"))


def decode_columns(data: bytes) -> None:
    for table in unpack_tables(data):
        for _, column in table.columns:
            decode_column(column, table.rows)


def open_signature(data: bytes) -> None:
    parse_group(parse_fragment(data))


def read_tables(data: bytes) -> None:
    with open_roster_files(data, "roster", 2**20) as files:
        for table in files.tables.values():
            list(table.lines(table.columns))


def read_roster(data: bytes) -> None:
    with open_reading(data, "roster", 2**20) as reading:
        list(reading.lines)


def name_a_log(text: str) -> None:
    """Read what a clamp names: none, or a log that SQLite can be asked for."""
    name = parse_name(text)
    if name is not None:
        assert str(name) == text
        assert all(0 <= number < 2**63 for number in (name.origin, name.incarnation))


def open_sealed_captions(data: bytes) -> None:
    """Open captions whose pieces are whole, and whose content anybody may have made."""
    key = DataKey(bytes(32))
    piece = Piece(
        lesson="a1",
        language="en",
        digest=sha256(data).digest(),
        lesson_key=key_id(key),
        pieces=1,
        sealed=data,
    )
    open_captions([piece], "en", {key_id(key): key})


DECODERS: dict[str, Callable[[bytes], object]] = {
    "body.unpack_tables": unpack_tables,
    "caption_tracks.open_captions": open_sealed_captions,
    "checkpoint.parse_digests": parse_digests,
    "checkpoint.parse_record": lambda data: parse_record(data, SNAPSHOT),
    "columnar.decode_column": decode_columns,
    "parts.parse_part": parse_part,
    "message.parse_message": parse_message,
    "files.open_roster_files": read_tables,
    "errors.parse_reason": as_text(parse_reason),
    "fragment_exchange.decode_from_box": as_text(decode_from_box),
    "fragment_exchange.decode_from_hub": as_text(decode_from_hub),
    "fragment_log.parse_header": parse_header,
    "fragment_log.parse_lesson_id": as_text(parse_lesson_id),
    "fragment_log.parse_record": parse_fragment,
    "fragment_log.parse_take_id": as_text(parse_take_id),
    "fragment_objects.parse_batch": parse_batch,
    "fragment_objects.parse_number": as_text(lambda text: parse_number(text, 100)),
    "fragment_objects.parse_object": as_text(lambda text: parse_object("1", text)),
    "fragment_parts.take": lambda data: PartJoiner().take(data),
    "fragment_sealing.parse_group": open_signature,
    "fragment_sealing.split_init": split_init,
    "lesson_minutes.parse_rungs": as_text(parse_rungs),
    "lesson_events.decode_event": decode_event,
    "materials.decode_chunk": decode_chunk,
    "framing.feed": lambda data: list(FrameReader().feed(data)),
    "tracks.parse_return_log": as_text(lambda text: parse_return_log(LessonId(text))),
    "message_packing.unpack": lambda data: MessagePacking().unpack(data),
    "own_keys.parse_purpose": as_text(parse_purpose),
    "reading.open_reading": read_roster,
    "recovery.parse_recovery_code": as_text(parse_recovery_code),
    "restore.parse_picture": parse_picture,
    "sealed.parse_roster": lambda data: open_roster(parse_roster(data), ROSTER_KEY),
    "sealing.unwrap": lambda data: unwrap(
        data, SUITE_X25519_SHA256_CHACHA20, KEY, b"", KeyId(bytes(8))
    ),
    "segment.decompress": decompress,
    "segment.parse_segment": parse_segment,
    "snapshot_part.unpack_part": lambda data: unpack_part(SNAPSHOT, data),
    "vault_backup.open_backup": lambda data: open_backup(data, 17, KEY, VaultShare(1, bytes(32))),
    "vault_backup.read_header": read_header,
    "body_coding.read_content": read_content,
    "horizon.parse_stable": parse_stable,
    "readable.readable": lambda data: list(readable(data, [DataKey(bytes(32))])),
    "refold.parse_name": as_text(name_a_log),
}
PASSED_OVER = {
    # What a node wrote itself: its store, its disk, its program.
    "former_contents.pack_former_write": "the own store, as a former version wrote it",
    "former_contents.renumber_clocks": "the own store, as a former version wrote it",
    "fragment_files._load_tail": "the own disk; each record is behind its length and check sum",
    "fragment_index.decode_entries": "the own disk, behind check sums",
    "merge.unpack_clocks": "the own store's column, packed of clocks that were merged",
    "model.parse_columns": "the schema's own text",
    "pending_writes.read_writes": "the own store's rows that wait",
    "stick._read_back": "compares what it just wrote",
    "tcp_connection.read_tcp_info": "the kernel's struct",
    "waiting_batches.read_waiting": "the own store's rows that wait",
    # Fuzzed by way of another, in another module.
    "column_coding._value": "message_packing.unpack codes cells by it",
    "conversation.hear": "hands what framing.feed gave to message_packing.unpack",
    "readable._inflated": "readable.readable reaches it by a table",
    "readable._json_fields": "readable.readable reaches it by a table",
    "readable._msgpack_fields": "readable.readable reaches it by a table",
    "sealed._open_part": "sealed.parse_roster's decoder opens what it parsed",
    # No decoders of anything that comes.
    "columnar._null_bits": "encodes",
    "sealing.open_body": "ChaCha20-Poly1305 decides before anything is parsed",
}


def vectors(folder: Path) -> Iterator[bytes]:
    """Return all bytes that the committed vectors hold."""

    def found(value: object) -> Iterator[bytes]:
        match value:
            case dict():
                for each in value.values():
                    yield from found(each)
            case list():
                for each in value:
                    yield from found(each)
            case str():
                try:
                    yield bytes.fromhex(value)
                except ValueError:
                    yield value.encode()

    for path in sorted(folder.rglob("*.json")):
        yield from found(json.loads(path.read_bytes()))


@cache
def examples() -> list[bytes]:
    made = [*vectors(VECTORS / "sync"), *vectors(VECTORS / "fuzz"), archive(ROSTER_FILES)]
    with tempfile.TemporaryDirectory() as folder:
        district = District(Path(folder), random.Random(3))
        for origin in (0, 17):
            district.add(origin)
        edge, hub = TurnSession(district.nodes[17], 0), TurnSession(district.nodes[0], 17)
        packings = {
            side: MessagePacking(district.nodes[origin].district_key)
            for side, origin in ((edge, 17), (hub, 0))
        }
        for at_ms in range(1, 4):
            district.nodes[17].record("card_tap", [{"at_ms": at_ms, "card": "c"}] * 20)
            district.nodes[17].record("room", [{"room": "r", "name": f"{at_ms}"}])
            district.nodes[0].record("notice", [{"school": 0, "notice": "n"}])
            district.seal(17, 0)
            for speaker, hearer in ((edge, hub), (hub, edge)):
                message = speaker.speak()
                assert message is not None
                packed = packings[speaker].pack(message)
                made += [
                    msgspec.msgpack.encode(message),
                    packed,
                    bytes([STREAM_VERSION]) + frame(packed),
                ]
                hearer.hear(packings[hearer].unpack(packed))
        for origin in (0, 17):
            made += [wire for _, _, wire in district.wires(origin)]
        for node in district.nodes.values():
            node.close()
    return sorted({example for example in made if example}, key=lambda each: (len(each), each))


EXTREMES = (
    bytes(8),
    b"\xff" * 9,
    b"\xcf" + b"\xff" * 8,  # msgpack: the greatest integer
    b"\xdd\xff\xff\xff\xff",  # msgpack: an array of 2**32 - 1
    b"\xa2\xc3\x28",  # msgpack: text that is no UTF-8
    b"\x91" * 3000,
    b"[" * 3000,
)


def refusal(decode: Callable[[bytes], object], data: bytes) -> str | None:
    """Return why bytes are refused, None if they are read."""
    try:
        decode(data)
    except SyncError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", sorted(DECODERS))
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.deferred(lambda: damaged(examples(), EXTREMES)))
def test_what_was_damaged_is_read_or_refused_and_nothing_else(name: str, data: bytes) -> None:
    assert refusal(DECODERS[name], data) != ""


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_what_once_failed_is_read_or_refused(name: str) -> None:
    assert all(refusal(DECODERS[name], data) != "" for data in vectors(VECTORS / "fuzz"))


def test_every_decoder_of_outside_bytes_is_named_here() -> None:
    found = decoders_in("sync")
    assert unnamed(found, DECODERS.keys() | PASSED_OVER.keys()) == set()
    assert found.keys() >= PASSED_OVER.keys(), "passed over, and no decoder any more"


@pytest.mark.parametrize(
    "function",
    [
        "def _parse_name(text: str) -> None: ...",
        "def of(content):\n    return _decoder.decode(content)",
        "class A:\n    async def take(self, told):\n        return msgspec.json.decode(told.body)",
        "def told(row):\n    return struct.unpack('>I', row['head'])",
        "def of(row):\n    return int(row['name'], 16)",
        "def _split_off(*, wire: memoryview) -> None: ...",
    ],
)
def test_the_search_for_decoders_sees_one_however_it_is_called(
    tmp_path: Path, function: str
) -> None:
    module = tmp_path / "module.py"
    module.write_text(f"import struct\n\n{function}\n")
    found = decoders_in(str(module))
    assert len(unnamed(found, set())) == 1
    assert unnamed(found, found.keys()) == set()


def test_a_decoder_is_covered_by_the_one_that_calls_it_and_by_no_other(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "def parse_a(data: bytes): return _parse_b(data)\n"
        "def _parse_b(data: bytes): ...\n"
        "def parse_c(data: bytes): ...\n"
        "def name(text: str) -> bytes: return text.encode().decode('ascii')\n"
    )
    assert unnamed(decoders_in(str(module)), {"module.parse_a"}) == {"module.parse_c"}
