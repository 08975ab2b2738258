from pathlib import Path

import pytest

from edge.box_store import BoxStore
from edge.errors import BoxSetupError
from edge.lesson.keys.partners import Partners
from sync.segments.sealing import recipient_id
from sync.segments.segment import HUB
from sync.segments.signing import signer_id
from tests.edge.school import Box, certificate_row, enrol


def partners_of(store: BoxStore, folder: Path) -> Partners:
    return Partners(store.node, store.acquaintances, folder / "partners.json")


def test_only_a_confirmed_box_of_a_school_is_given_lessons(box: Box, tmp_path: Path) -> None:
    first, second = (enrol(box.district, tmp_path / name, 18) for name in ("a", "b"))
    box.plant("box_certificate", certificate_row(first), certificate_row(second))
    with box.opened() as store:
        partners = partners_of(store, tmp_path)
        assert partners.confirmed_keys(18) == []
        own = recipient_id(first.sealing.public_key())
        (shown,) = [each for each in partners.of(18) if each.recipient == own]

        partners.confirm(18, shown.fingerprint.upper().replace(" ", ""), "head")

        again = partners_of(store, tmp_path)
        for each in (partners, again):
            assert [recipient_id(key) for key in each.confirmed_keys(18)] == [own]


def test_a_box_that_joins_later_is_shown_without_a_restart(box: Box, tmp_path: Path) -> None:
    box.plant("box_certificate", certificate_row(enrol(box.district, tmp_path / "a", 18)))
    with box.opened() as store:
        partners = partners_of(store, tmp_path)
        assert len(partners.of(18)) == 1
        box.plant("box_certificate", certificate_row(enrol(box.district, tmp_path / "b", 18)))
        assert len(partners.of(18)) == 2


def test_a_revoked_box_loses_its_confirmation(box: Box, tmp_path: Path) -> None:
    other = enrol(box.district, tmp_path / "a", 18)
    box.plant("box_certificate", certificate_row(other))
    with box.opened() as store:
        partners = partners_of(store, tmp_path)
        partners.confirm(18, partners.of(18)[0].fingerprint, "head")
        box.plant("box_certificate", certificate_row(other, revoked=True))
        assert partners.confirmed_keys(18) == []


def test_a_revoked_box_may_not_speak_though_its_signatures_stay_good(
    box: Box, tmp_path: Path
) -> None:
    first, second = (enrol(box.district, tmp_path / name, 18) for name in ("a", "b"))
    box.plant("box_certificate", certificate_row(first), certificate_row(second))
    with box.opened() as store:
        known = store.acquaintances
        one, other = (signer_id(each.signing.public_key()) for each in (first, second))
        assert known.may_speak(18, one)
        box.plant("box_certificate", certificate_row(first, revoked=True))
        assert not known.may_speak(18, one)
        assert known.signing_key(18, one) is not None
        assert known.sealing_key(18, one) == first.sealing.public_key()
        assert known.sealing_key(17, one) is None
        assert known.may_speak(18, other)
        assert not known.may_speak(17, other)
        assert known.may_speak(17, store.node.signer)
        assert known.may_speak(HUB, signer_id(box.district.hub.signing.public_key()))


def test_a_key_the_school_has_not_is_not_confirmed(box: Box, tmp_path: Path) -> None:
    with box.opened() as store:
        partners = partners_of(store, tmp_path)
        with pytest.raises(BoxSetupError, match="compare it again"):
            partners.confirm(18, "0000 0000", "head")
    assert box.rows("SELECT count(*) FROM recipient WHERE kind = 'partner'") == [(0,)]


def test_a_certificate_of_another_school_is_no_box_of_this_one(box: Box, tmp_path: Path) -> None:
    other = enrol(box.district, tmp_path / "a", 18)
    box.plant("box_certificate", {**certificate_row(other), "school": 19})
    with box.opened() as store:
        assert store.acquaintances.sealing_keys(19) == []
        assert store.acquaintances.latest_signing_key(19) is None


def test_a_spare_box_speaks_for_its_school_as_soon_as_it_is_certified(
    box: Box, tmp_path: Path
) -> None:
    lost = enrol(box.district, tmp_path / "a", 18)
    box.district.clock.ms += 3_600_000
    spare = enrol(box.district, tmp_path / "b", 18)
    box.plant("box_certificate", certificate_row(spare), certificate_row(lost))
    with box.opened() as store:
        newest = store.acquaintances.latest_signing_key(18)
        assert newest == spare.signing.public_key()
        box.plant("box_certificate", certificate_row(spare, revoked=True))
        assert store.acquaintances.latest_signing_key(18) == lost.signing.public_key()


def test_a_damaged_file_names_what_to_do(box: Box, tmp_path: Path) -> None:
    path = tmp_path / "partners.json"
    path.touch(mode=0o600)
    path.write_text("{")
    with box.opened() as store, pytest.raises(BoxSetupError, match="confirm the partners again"):
        Partners(store.node, store.acquaintances, path)


def test_confirmations_of_the_former_file_are_taken_up_once(box: Box, tmp_path: Path) -> None:
    other = enrol(box.district, tmp_path / "a", 18)
    box.plant("box_certificate", certificate_row(other))
    key = other.sealing.public_key()
    former = tmp_path / "partners.json"
    former.touch(mode=0o600)
    digits = recipient_id(key).hex()
    shown = " ".join(digits[start : start + 4] for start in range(0, 16, 4))
    former.write_text(f'{{"18": ["{shown}", "0000 0000 0000 0000"]}}')
    with box.opened() as store:
        assert partners_of(store, tmp_path).confirmed_keys(18) == [key]
        assert not former.exists()
        assert partners_of(store, tmp_path).confirmed_keys(18) == [key]


def test_a_revoked_partner_is_given_no_lesson_though_its_certificate_holds(
    box: Box, tmp_path: Path
) -> None:
    other = enrol(box.district, tmp_path / "a", 18)
    box.plant("box_certificate", certificate_row(other))
    with box.opened() as store:
        partners = partners_of(store, tmp_path)
        partners.confirm(18, partners.of(18)[0].fingerprint, "head")
        store.node.keys.revoke(partners.of(18)[0].recipient, "head")
        assert partners.confirmed_keys(18) == []
