"""Decoders of outside bytes in box, hub and enrolment, fed with damaged real ones.

Those of ``sync`` are in tests/sync/test_fuzz.py, a lesson's in tests/edge/test_lesson_fuzz.py, the
devices' beside their codecs in tests/drivers. A decoder that neither stands here nor is passed
over with a reason fails a test.
"""

import json
from collections.abc import Callable
from datetime import timedelta, timezone
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import BoxSetupError
from edge.farm.rule import RuleError, read_rule
from edge.hub_recovery import _decode as decode_hubs_answer
from edge.pages.actions import ActionError, Adopt, Command
from edge.pages.cameras import Steer
from edge.pages.farm_forms import EnterRule
from edge.pages.json_wishes import decode_wish
from edge.pages.office_forms import read_date, read_moment, read_span
from edge.pages.screens import Taps
from edge.pages.sports import _decode as decode_stations_file
from edge.roster_upload import _read_plain
from edge.sports.fitness import ResultError, read_list
from hub.errors import HubSetupError
from hub.pages.lesson_pages import ScheduleBody
from hub.recovery_api import parse_wish
from hub.school_keys import read_school_keys
from provisioning.certificates import parse_box_uri, read_certificate
from provisioning.enrolment_wire import (
    EnrolmentAnswer,
    EnrolmentRequest,
    KeyRequest,
    RefusalAnswer,
    RenewalAnswer,
    _load_csr,
    decode,
)
from provisioning.errors import ProvisioningError
from provisioning.join_code import parse_join_code
from provisioning.trust import read_trust
from sync.errors import SyncError
from sync.persons.vault_backup import ShareWish, ShelfState, VaultCopy, VaultReceipt, VaultShare
from tests.damaged_bytes import damaged
from tests.decoders import ROOT, decoders_in, unnamed

VECTORS = ROOT / "tests" / "vectors"
EXAMPLES_EACH = 100
CHINA = timezone(timedelta(hours=8))
REFUSALS = (
    ActionError,
    BoxSetupError,
    HubSetupError,
    ProvisioningError,
    ResultError,
    RuleError,
    SyncError,
    web.HTTPBadRequest,
)


def as_text(decode: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: decode(data.decode("latin-1"))


def as_each(decode: Callable[[bytes, type], object], *kinds: type) -> Callable[[bytes], object]:
    """Decode as each of these kinds; what none of them takes is refused as the last refuses it."""

    def decode_all(data: bytes) -> None:
        refusals = []
        for kind in kinds:
            try:
                decode(data, kind)
            except REFUSALS as refusal:
                refusals.append(refusal)
        if len(refusals) == len(kinds):
            raise refusals[-1]

    return decode_all


def read_keys_file(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "keys.json"
        path.write_bytes(data)
        read_school_keys(path, None)


DECODERS: dict[str, Callable[[bytes], object]] = {
    "certificates.parse_box_uri": as_text(parse_box_uri),
    "certificates.read_certificate": read_certificate,
    "enrolment_wire._load_csr": _load_csr,
    "enrolment_wire.decode": as_each(
        decode, EnrolmentRequest, EnrolmentAnswer, RenewalAnswer, RefusalAnswer, KeyRequest
    ),
    "fitness.read_list": as_text(lambda text: list(read_list(text))),
    "hub_recovery._decode": as_each(
        decode_hubs_answer, ShelfState, VaultShare, VaultReceipt, VaultCopy
    ),
    "join_code.parse_join_code": as_text(parse_join_code),
    "json_wishes.decode_wish": as_each(
        decode_wish, Adopt, Command, EnterRule, Steer, Taps, ScheduleBody
    ),
    "office_forms.read_date": as_text(read_date),
    "office_forms.read_moment": as_text(lambda text: read_moment(text, CHINA)),
    "office_forms.read_span": as_text(lambda text: read_span(text[:16], text[16:], CHINA)),
    "recovery_api.parse_wish": parse_wish,
    "roster_upload._read_plain": _read_plain,
    "rule.read_rule": read_rule,
    "school_keys.read_school_keys": read_keys_file,
    "sports._decode": decode_stations_file,
    "trust.read_trust": read_trust,
}
PASSED_OVER = {
    # What a program wrote itself, or its administrator did.
    "authority.open_authority": "the authority's own files",
    "box_keys.unpack_keys": "the box's own file",
    "card_covers._read_painted": "the store's own rows",
    "class_card._read_taps": "the store's own rows",
    "config.load_config": "the administrator's file; tests/edge/test_config.py",
    "farm_rows._action": "the store's own row",
    "identity._certificate": "the box's own file",
    "identity._read": "the box's own file",
    "metering._read": "the box's own file",
    "metering.parse_night": "the administrator's file, after its check",
    "private_file.read": "the box's own file",
    "program_folder.open_code": "the program's own file",
    "screens._read": "the box's own file",
    "vault_shelf._shares": "the hub's own file; what boxes send is read by sync.persons",
    # What comes over the box's own socket, which only its administrator can open.
    "board_desk._body": "the box's socket",
    "command_line.doctor": "the box's answer on its socket",
    "control._body": "the box's socket",
    "control_client._told": "the box's answer on its socket",
    "courier_desk._begin": "the box's socket",
    "key_desk._body": "the box's socket",
    "recovery_desk._body": "the box's socket",
    "recovery_words._hex": "the box's answer on its socket",
    # The same call as one above, or aiohttp's own parser, within a request.
    "cameras._follow": "as json_wishes.decode_wish, of Steer",
    "file_form.read_file_form": "aiohttp's parser; tests/edge/pages",
    "lesson_pages.read_json": "as json_wishes.decode_wish, of ScheduleBody",
    "roster_upload._open_sealed": "calls sync.rosters.sealed.parse_roster first",
    "roster_upload.read_upload": "chooses between _open_sealed and _read_plain",
    # No decoders, though they are named for one or call what decodes.
    "__main__._open_hub": "opens a folder",
    "join_code._letters": "writes a code",
    "rendering.open_reader": "takes a language",
    "screens._digits": "its own digest",
    "server.open_hub": "opens a folder",
}
EXTREMES = (
    b"\xff" * 9,
    b"\xcf" + b"\xff" * 8,
    b"\xdd\xff\xff\xff\xff",
    b"\xa2\xc3\x28",
    b"\x91" * 3000,
    b"[" * 3000,
    b'{"a":' * 3000,
    b"\\ud800",
    b"9" * 5000,
)


@cache
def examples() -> list[bytes]:
    """Return real bytes: texts as they are, the rest from hexadecimal digits."""
    found = []
    for path in (*(VECTORS / "programs").glob("*.json"), *(VECTORS / "fuzz").glob("*.json")):
        for value in json.loads(path.read_bytes()).values():
            try:
                found.append(bytes.fromhex(value))
            except ValueError:
                found.append(value.encode())
    return sorted(found, key=lambda each: (len(each), each))


def refusal(decode: Callable[[bytes], object], data: bytes) -> str | None:
    """Return why bytes are refused, None if they are read."""
    try:
        decode(data)
    except REFUSALS as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", sorted(DECODERS))
@settings(max_examples=EXAMPLES_EACH, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.deferred(lambda: damaged(examples(), EXTREMES)))
def test_what_was_damaged_is_read_or_refused_and_nothing_else(name: str, data: bytes) -> None:
    assert refusal(DECODERS[name], data) != ""


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_what_is_real_or_once_failed_elsewhere_is_read_or_refused(name: str) -> None:
    assert all(refusal(DECODERS[name], data) != "" for data in [*examples(), *EXTREMES])


def test_some_of_the_examples_are_read_by_each_decoder() -> None:
    """Else only refusals would be fuzzed."""
    read = {
        name
        for name, decode_one in DECODERS.items()
        if any(refusal(decode_one, data) is None for data in examples())
    }
    assert read == DECODERS.keys()


def test_a_wish_for_a_share_beyond_all_numbers_is_refused() -> None:
    for after in (-1, 2**48, 2**64 - 1):
        with pytest.raises(web.HTTPBadRequest):
            parse_wish(msgspec.msgpack.encode([after]))
    assert parse_wish(msgspec.msgpack.encode([3])) == ShareWish(3)


def test_every_decoder_of_outside_bytes_is_named_here() -> None:
    lessons_and_demo = ("edge/lesson", "hub/lesson", "edge/demo")
    found = decoders_in("edge", "hub", "provisioning", besides=lessons_and_demo)
    assert unnamed(found, DECODERS.keys() | PASSED_OVER.keys()) == set()
    assert found.keys() >= DECODERS.keys() | PASSED_OVER.keys(), "named, and no decoder any more"
