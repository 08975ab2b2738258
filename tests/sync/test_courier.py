"""The courier: what a link would have carried goes by stick, once, unread and unaltered."""

import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.courier import stick as stick_files
from sync.courier.parts import (
    CONTEXT,
    PART_BYTES_MAX,
    Manifest,
    digest_of,
    join_part,
    pack_segments,
    parse_part,
)
from sync.courier.stick import (
    FOLDER,
    StickError,
    file_name,
    find_files,
    read_file,
    remove_others,
    write_file,
)
from sync.courier.trip import Inbound, Outbound, batches
from sync.errors import ForgedError, KeyMissingError, MalformedError, RevokedError, SyncError
from sync.logs.log_state import Holding
from sync.logs.oplog import Row
from sync.schema.model import Lane
from sync.segments.segment import LogName, parse_segment
from sync.segments.signing import sign, signer_id, verify
from tests.sync.district import District

NAME = "wuhan-hongshan"
PLENTY = 1 << 30


def export(
    district: District, origin: int, recipient: int, stick: Path, bytes_max: int = PLENTY
) -> Outbound:
    trip = Outbound(district.nodes[origin], recipient, NAME, bytes_max, district.chance.randbytes)
    for number in range(1, trip.parts + 1):
        write_file(stick, *trip.part(number))
    remove_others(stick, origin, recipient, trip.parts)
    return trip


def take_in(district: District, recipient: int, stick: Path) -> dict[str, str]:
    """Import what is addressed to a node; return what became of each file."""
    inbound = Inbound(district.nodes[recipient], NAME)
    outcomes = {}
    for each in find_files(stick):
        if each.recipient != recipient:
            continue
        try:
            part = inbound.open(read_file(each.path))
        except (SyncError, StickError) as error:
            outcomes[each.path.name] = str(error)
            continue
        fresh = inbound.take_receipts(part)
        stored = sum(inbound.take(part, some).stored for some in batches(part))
        outcomes[each.path.name] = f"{stored} stored" + ("" if fresh else ", old receipts")
    return outcomes


def tap(district: District, school: int, count: int = 1) -> None:
    district.now += 1000
    rows: list[Row] = [{"at_ms": district.now + place, "device": "door"} for place in range(count)]
    district.nodes[school].record("card_tap", rows)


def taps(district: District, origin: int) -> list[tuple[object, ...]]:
    return district.rows(origin, "SELECT school, at_ms FROM card_tap ORDER BY school, at_ms")


def test_a_school_without_a_link_is_carried_to_the_hub_and_back(
    district: District, tmp_path: Path
) -> None:
    tap(district, 17, 300)
    district.nodes[0].record("notice", [{"school": 0, "notice": "n", "title_zh": "放假"}])
    export(district, 17, 0, tmp_path)
    take_in(district, 0, tmp_path)
    export(district, 0, 17, tmp_path)
    take_in(district, 17, tmp_path)
    assert taps(district, 0) == taps(district, 17)
    assert len(taps(district, 0)) == 300
    assert district.rows(17, "SELECT title_zh FROM notice") == [("放假",)]
    # The hub's receipts came back: nothing is carried a second time.
    assert export(district, 17, 0, tmp_path).segments == 0


def test_importing_twice_changes_nothing(district: District, tmp_path: Path) -> None:
    tap(district, 17, 20)
    export(district, 17, 0, tmp_path)
    take_in(district, 0, tmp_path)
    before = district.digests(0)
    assert set(take_in(district, 0, tmp_path).values()) == {"0 stored"}
    assert district.digests(0) == before


def test_what_the_link_brought_is_not_carried(district: District, tmp_path: Path) -> None:
    tap(district, 17, 20)
    district.exchange(17)
    assert export(district, 17, 0, tmp_path).segments == 0
    tap(district, 17)
    assert export(district, 17, 0, tmp_path).segments == 1


def test_two_schools_share_a_stick(district: District, tmp_path: Path) -> None:
    for school in (17, 18):
        tap(district, school, 5)
        export(district, school, 0, tmp_path)
    take_in(district, 0, tmp_path)
    for school in (17, 18):
        export(district, 0, school, tmp_path)
        outcomes = take_in(district, school, tmp_path)
        assert list(outcomes) == [file_name(0, school, 1)]
    assert len(taps(district, 0)) == 10


def test_alarms_and_keys_go_first_when_a_stick_is_small(district: District, tmp_path: Path) -> None:
    school = district.nodes[17]
    for _ in range(30):
        tap(district, 17, 200)
        district.seal(17)
    school.record("alarm", [{"at_ms": district.now, "device": "button", "alarm": "panic"}])
    trip = export(district, 17, 0, tmp_path, bytes_max=6000)
    assert trip.left_bytes > 0
    take_in(district, 0, tmp_path)
    assert district.rows(0, "SELECT alarm FROM alarm") == [("panic",)]
    held = "SELECT lane, stored BETWEEN 1 AND 29 FROM log WHERE origin = 17"
    assert (Lane.ATTENDANCE, 1) in district.rows(0, held)
    export(district, 0, 17, tmp_path)
    take_in(district, 17, tmp_path)
    export(district, 17, 0, tmp_path)
    take_in(district, 0, tmp_path)
    assert taps(district, 0) == taps(district, 17)


def test_a_large_backlog_goes_in_parts_of_which_each_stands_alone(
    district: District, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.courier.trip.SEGMENT_BYTES_A_PART", 1500)
    for _ in range(12):
        tap(district, 17, 200)
        district.seal(17)
    trip = export(district, 17, 0, tmp_path)
    assert trip.parts > 2
    files = find_files(tmp_path)
    files[1].path.write_bytes(b"SNC1 broken")
    outcomes = take_in(district, 0, tmp_path)
    assert "manifest" in outcomes[files[1].path.name]
    assert 0 < len(taps(district, 0)) < 2400
    export(district, 17, 0, tmp_path)
    take_in(district, 0, tmp_path)
    assert len(taps(district, 0)) == 2400
    tap(district, 17)
    district.exchange(17)
    export(district, 17, 0, tmp_path)
    assert len(find_files(tmp_path)) == 1  # parts of the longer export are gone


@pytest.fixture
def part(district: District, tmp_path: Path) -> bytes:
    tap(district, 17, 3)
    export(district, 17, 0, tmp_path)
    return read_file(find_files(tmp_path)[0].path)


def test_every_changed_byte_is_noticed(district: District, part: bytes) -> None:
    inbound = Inbound(district.nodes[0], NAME)
    for place in range(len(part)):
        altered = bytearray(part)
        altered[place] ^= 1 << place % 8
        with pytest.raises((MalformedError, ForgedError, KeyMissingError)):
            inbound.open(bytes(altered))
    for cut in range(0, len(part), 7):
        with pytest.raises((MalformedError, ForgedError)):
            inbound.open(part[:cut])
    with pytest.raises(ForgedError):
        inbound.open(part + b"\x00")
    assert inbound.open(part).segments


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.binary(max_size=300).map(lambda b: b"SNC1" + b)))
def test_the_parser_raises_nothing_but_its_errors(data: bytes) -> None:
    with pytest.raises((MalformedError, ForgedError)):
        parse_part(data)


@settings(max_examples=200, deadline=None)
@given(
    manifest=st.recursive(
        st.one_of(st.none(), st.integers(-3, 2**64 - 1), st.binary(max_size=33), st.text()),
        lambda inner: st.lists(inner, max_size=14),
        max_leaves=20,
    ),
    rest=st.binary(max_size=90),
)
def test_a_manifest_of_any_shape_is_refused(manifest: object, rest: bytes) -> None:
    try:
        packed = msgspec.msgpack.encode(manifest)
    except (OverflowError, UnicodeEncodeError):
        return
    with pytest.raises((MalformedError, ForgedError)):
        parse_part(b"SNC1" + len(packed).to_bytes(4, "big") + packed + rest)


def test_a_stick_of_another_district_or_for_another_is_refused(
    district: District, part: bytes, tmp_path: Path
) -> None:
    with pytest.raises(MalformedError, match="of the district"):
        Inbound(district.nodes[0], "elsewhere").open(part)
    with pytest.raises(MalformedError, match="addressed to the hub"):
        Inbound(district.nodes[18], NAME).open(part)
    stranger = District(tmp_path / "other", random.Random(99))
    (tmp_path / "other").mkdir()
    stranger.add(0)
    with pytest.raises(KeyMissingError):
        Inbound(stranger.nodes[0], NAME).open(part)
    stranger.nodes[0].close()


def test_a_stick_that_a_revoked_box_wrote_is_refused_with_its_receipts(
    district: District, part: bytes
) -> None:
    inbound = Inbound(district.nodes[0], NAME)
    assert inbound.open(part).segments
    district.silenced.add(district.nodes[17].signer)
    with pytest.raises(RevokedError, match="of origin 17, which was revoked"):
        inbound.open(part)
    forged = part[:-1] + bytes([part[-1] ^ 1])
    with pytest.raises(ForgedError):
        inbound.open(forged)


def test_a_school_cannot_speak_for_another(district: District, tmp_path: Path) -> None:
    """School 18 puts 17's genuine segments, and a receipt of its own, under its own name."""
    tap(district, 17, 3)
    export(district, 17, 0, tmp_path)
    stolen = parse_part(read_file(find_files(tmp_path)[0].path)).segments
    inbound = Inbound(district.nodes[0], NAME)
    tap(district, 18, 1)
    trip = Outbound(district.nodes[18], 0, NAME, PLENTY, district.chance.randbytes)
    part = inbound.open(trip.part(1)[1])
    done = inbound.take(part, stolen)
    assert done.stored == 0
    assert len(done.refused) == len(stolen)


def test_an_old_stick_takes_no_receipt_back(district: District, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    export(district, 0, 17, old)
    tap(district, 17, 5)
    export(district, 17, 0, new)
    take_in(district, 0, new)
    district.now += 60_000
    export(district, 0, 17, new)
    take_in(district, 17, new)
    before = district.nodes[17].peers.cursors(0)
    assert set(take_in(district, 17, old).values()) == {"0 stored, old receipts"}
    assert district.nodes[17].peers.cursors(0) == before
    assert export(district, 17, 0, new).segments == 0


def test_a_restored_hub_gets_by_stick_what_it_lost(district: District, tmp_path: Path) -> None:
    backup = district.back_up(0)
    tap(district, 17, 5)
    export(district, 17, 0, tmp_path)
    take_in(district, 0, tmp_path)
    export(district, 0, 17, tmp_path)
    take_in(district, 17, tmp_path)
    district.now += 1000
    district.restore(0, backup, b"second")
    assert taps(district, 0) == []
    export(district, 0, 17, tmp_path)
    take_in(district, 17, tmp_path)
    export(district, 17, 0, tmp_path)
    take_in(district, 0, tmp_path)
    assert len(taps(district, 0)) == 5


def test_nothing_readable_is_on_the_stick(district: District, tmp_path: Path) -> None:
    planted = "王小明"
    school = district.nodes[17]
    school.record("card_tap", [{"at_ms": 1, "device": "door-of-room-7", "card": "04:CA:FE:77"}])
    school.record("room", [{"room": "r1", "name": planted}])
    export(district, 17, 0, tmp_path)
    found = b"".join(read_file(each.path) for each in find_files(tmp_path))
    for secret in ("door-of-room-7", "04:CA:FE:77", planted):
        assert secret.encode() not in found
        assert secret.encode("gb18030") not in found
    assert NAME.encode() in found  # the search finds what is there
    take_in(district, 0, tmp_path)
    assert district.rows(0, "SELECT name FROM room") == [(planted,)]


def test_links_pipes_and_huge_files_are_not_opened(district: District, tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    secret = tmp_path / "elsewhere"
    secret.write_bytes(b"x")
    (folder / file_name(17, 0, 1)).symlink_to(secret)
    os.mkfifo(folder / file_name(17, 0, 2))
    with (folder / file_name(17, 0, 3)).open("wb") as file:
        file.truncate(PART_BYTES_MAX + 1)
    (folder / file_name(17, 0, 4)).mkdir()
    (folder / "school-17-to-hub-00001.courier.bak").write_bytes(b"x")
    (folder / "school-017-to-hub-00001.courier").write_bytes(b"x")
    outcomes = take_in(district, 0, tmp_path)
    assert len(outcomes) == 4
    assert "link" in outcomes[file_name(17, 0, 1)]
    assert "plain file" in outcomes[file_name(17, 0, 2)]
    assert "bytes" in outcomes[file_name(17, 0, 3)]
    assert outcomes[file_name(17, 0, 4)]


def test_a_folder_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / FOLDER).symlink_to(tmp_path / "real")
    with pytest.raises(StickError, match="no folder"):
        find_files(tmp_path)
    with pytest.raises(StickError, match="no folder"):
        write_file(tmp_path, file_name(17, 0, 1), b"x")
    assert list((tmp_path / "real").iterdir()) == []


class PulledError(Exception):
    """The stick is out."""


@pytest.mark.parametrize("step", range(1, 12))
def test_a_stick_pulled_at_any_step_holds_whole_files_only(
    district: District, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Stop at the n-th call that touches the stick, then take in what is there, and go on."""
    tap(district, 17, 5)
    export(district, 17, 0, tmp_path)
    tap(district, 17, 5)
    calls = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == step:
                raise PulledError
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        for name in ("open", "fsync", "fdopen"):
            patched.setattr(os, name, counted(getattr(os, name)))
        patched.setattr(Path, "replace", counted(Path.replace))
        patched.setattr(Path, "unlink", counted(Path.unlink))
        try:
            export(district, 17, 0, tmp_path)
        except PulledError:
            pass
        else:
            assert calls < step
    assert set(take_in(district, 0, tmp_path).values()) <= {"1 stored", "2 stored", "3 stored"}
    assert len(taps(district, 0)) in {5, 10}
    export(district, 17, 0, tmp_path)
    take_in(district, 0, tmp_path)
    assert len(taps(district, 0)) == 10
    assert [each.name for each in (tmp_path / FOLDER).iterdir()] == [file_name(17, 0, 1)]


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "is full"), (errno.EROFS, "write-protected"), (5, "again")]
)
def test_a_stick_that_refuses_says_what_to_do_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    write_file(tmp_path, file_name(17, 0, 1), b"old")

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(StickError, match=words):
            write_file(tmp_path, file_name(17, 0, 1), b"new")
    assert read_file(tmp_path / FOLDER / file_name(17, 0, 1)) == b"old"
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


def test_a_stick_that_gives_back_other_bytes_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stick_files, "read_file", lambda _: b"other")
    with pytest.raises(StickError, match="other bytes"):
        write_file(tmp_path, file_name(17, 0, 1), b"new")
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_stick_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StickError, match="mounted"):
        find_files(tmp_path / "nothing")


VECTORS = Path(__file__).parents[1] / "vectors" / "sync"


def make_vector() -> dict[str, object]:
    """Return one part whose single segment is that of segment.json."""
    signing = Ed25519PrivateKey.from_private_bytes(random.Random(2026).randbytes(32))
    segment = bytes.fromhex(json.loads((VECTORS / "segment.json").read_text())["wire"])
    head = parse_segment(segment).header_digest
    content = pack_segments([segment])
    manifest = Manifest(
        version=1,
        district="jiangxia",
        origin=17,
        recipient=0,
        signer=signer_id(signing.public_key()),
        trip=bytes(range(8)),
        made_ms=1_790_000_000_000,
        part=1,
        parts=1,
        incarnation=5,
        have=[Holding(LogName(0, 5, "d", Lane.CONTROL), 3, 2, head[:8], frozen=False)],
        segments=1,
        digest=digest_of(content),
    )
    packed = msgspec.msgpack.encode(manifest)
    return {
        "signing_public": signing.public_key().public_bytes_raw().hex(),
        "file": join_part(packed, sign(signing, CONTEXT, packed), content).hex(),
    }


def test_the_committed_part_opens_and_is_what_this_version_writes() -> None:
    committed = json.loads((VECTORS / "courier.json").read_text())
    part = parse_part(bytes.fromhex(committed["file"]))
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(committed["signing_public"]))
    verify(public, CONTEXT, part.manifest_bytes, part.signature)
    assert part.signer == signer_id(public)
    assert (part.manifest.origin, part.manifest.recipient, part.manifest.have[0].stored) == (
        17,
        0,
        3,
    )
    assert parse_segment(part.segments[0]).header.log.origin == 17
    manifest = msgspec.msgpack.encode(part.manifest)
    written = join_part(manifest, part.signature, pack_segments(part.segments))
    assert written.hex() == committed["file"]


if __name__ == "__main__":
    (VECTORS / "courier.json").write_text(json.dumps(make_vector(), indent=1) + "\n")
