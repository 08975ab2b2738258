from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.registry import LessonParties, box_row
from hub.server import HubParts, open_hub
from provisioning.box_keys import new_box_keys
from provisioning.join_code import parse_join_code
from sync.logs.oplog import Row
from sync.segments.segment import HUB
from tests.hub.running_hub import HOST, Clock, RunningHub, hub_config
from tests.provisioning.district import request_body


@pytest.fixture
def hub(tmp_path: Path) -> RunningHub:
    return RunningHub(hub_config(tmp_path), Clock())


@pytest.fixture
def parts(hub: RunningHub) -> Iterator[HubParts]:
    with open_hub(hub.config, hub.now_ms) as opened:
        for school in (17, 18, 18):
            code = parse_join_code(hub.invite(school))
            opened.desk.enrol(request_body(code, new_box_keys(), lan_names=[HOST]), HOST)
        opened.registry.read_boxes()
        yield opened


def schedule(parts: HubParts, **changes: int) -> None:
    parts.node.record_all(
        {
            "lesson_party": [
                {"school": 17, "lesson": "a1", "role": "flagship"},
                {"school": 18, "lesson": "a1", "role": "receiver"},
                {"school": 99, "lesson": "a1", "role": "receiver"},
            ],
            "lesson": [{"school": 17, "lesson": "a1", "starts_ms": 1, "ends_ms": 2, **changes}],
        }
    )


def test_each_audience_comprises_the_enrolled_schools_it_concerns(parts: HubParts) -> None:
    schedule(parts)
    members = parts.registry.members
    assert members("d") == {17, 18}
    assert members("s18") == {18}
    assert members("s99") == members("sx") == members("") == members("l-none") == frozenset()
    assert members("la1") == {17, 18}


def test_a_way_back_is_its_own_classs_to_publish_and_the_flagships_alone_to_follow(
    parts: HubParts,
) -> None:
    schedule(parts)
    lessons = LessonParties(parts.registry._reader)
    schools = (17, 18, 99, 7)
    assert [lessons.may_publish(one, "a1.r18") for one in schools] == [False, True, False, False]
    assert [lessons.may_receive(one, "a1.r18") for one in schools] == [True, False, False, False]
    assert not any(lessons.may_publish(one, "a1.r17") for one in schools)
    assert not any(lessons.may_receive(one, "a2.r18") for one in schools)
    schedule(parts, cancelled=1)
    assert not lessons.may_receive(17, "a1.r18")


def test_a_cancelled_lesson_has_no_parties(parts: HubParts) -> None:
    schedule(parts, cancelled=1)
    assert parts.registry.members("la1") == frozenset()


def test_a_revoked_box_is_granted_nothing_more_and_what_it_signed_stays(parts: HubParts) -> None:
    registry = parts.registry
    lost, kept = [box for box in registry.boxes() if box.binding.school == 18]
    parts.node.record("box_certificate", [box_row(lost, revoked=True)])

    registry.read_revoked()

    granted = [key.public_bytes_raw() for key in registry.sealing_keys(18)]
    assert granted == [kept.binding.keys.sealing]
    assert lost.binding.box in registry.revoked
    signers = [signer for (origin, signer) in registry._signers if origin == 18]
    assert all(registry.signing_key(18, signer) for signer in signers)
    sealing = [
        key.public_bytes_raw() for key in (registry.sealing_key(18, one) for one in signers) if key
    ]
    assert sealing == [lost.binding.keys.sealing, kept.binding.keys.sealing]
    assert len(signers) == 2
    standing = [signer for signer in signers if registry.may_speak(18, signer)]
    assert standing == [kept.signer]
    assert not registry.may_speak(17, kept.signer)
    assert registry.may_speak(HUB, parts.node.signer)


def test_only_boxes_that_the_schools_do_not_know_are_told(parts: HubParts) -> None:
    new = parts.registry.untold()
    assert len(new) == 3
    parts.node.record("box_certificate", [box_row(new[0], revoked=False)])
    assert parts.registry.untold() == new[1:]


def test_who_is_reached_by_new_rows_follows_their_audience(
    parts: HubParts, hub: RunningHub
) -> None:
    parts.node.seal_all()
    hub.now_ms.ahead_ms += 1000
    since_ms = hub.now_ms()
    assert parts.registry.reached_since(0, since_ms) == frozenset()
    slot: Row = {"school": 17, "slot": "x", "subject": "数学"}
    parts.node.record("timetable_slot", [slot])
    parts.node.seal_all()
    assert parts.registry.reached_since(0, since_ms) == {17}
    parts.node.record("notice", [{"school": 0, "notice": "n"}])
    parts.node.seal_all()
    assert parts.registry.reached_since(0, since_ms) >= {17}
