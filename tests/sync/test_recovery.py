"""The recovery code survives a person's handwriting, and opens one key and no other."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import RecoveryCodeError
from sync.persons.recovery import (
    SECRET_BYTES,
    RecoveryCode,
    new_recovery_code,
    parse_recovery_code,
)

CODE = RecoveryCode(bytes(range(SECRET_BYTES)))
PRINTED = CODE.printed()


@given(st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES))
def test_a_code_is_read_back_as_it_was_made(secret: bytes) -> None:
    code = RecoveryCode(secret)
    for written in (code.text(), code.printed(), code.printed().lower(), f" {code.printed()}\n"):
        assert parse_recovery_code(written) == code


def test_a_code_is_what_it_was_when_papers_were_printed() -> None:
    """Papers lie in safes for years: this never changes."""
    assert PRINTED == "2001-081G-8186-0W40-J2GB-1G6G-W3VF-ZPHX"
    public = CODE.key().public_key().public_bytes_raw().hex()
    assert public == "504df39564c028088dac16a521690ffc830c45d9a96c1160803d554cddebbb3b"


@pytest.mark.parametrize("place", range(32))
def test_one_wrong_character_is_noticed(place: int) -> None:
    text = CODE.text()
    wrong = "7" if text[place] != "7" else "8"
    with pytest.raises(RecoveryCodeError, match=r"check does not fit|newer kind"):
        parse_recovery_code(text[:place] + wrong + text[place + 1 :])


@pytest.mark.parametrize("place", range(31))
def test_two_swapped_characters_are_noticed(place: int) -> None:
    text = CODE.text()
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    if swapped != text:
        with pytest.raises(RecoveryCodeError):
            parse_recovery_code(swapped)


def test_look_alikes_full_width_and_other_dashes_are_forgiven() -> None:
    plain = CODE.text()
    alike = plain.replace("0", "O").replace("1", "l")
    wide = "".join(chr(ord(each) + 0xFEE0) for each in plain)
    for written in (alike, wide, "\u2013".join(plain), " ".join(plain)):
        assert parse_recovery_code(written) == CODE


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (PRINTED[:-1], "some are missing"),
        (PRINTED + "0", "some are too many"),
        ("U" + PRINTED[1:], "character 1 is none"),
        ("0" * 300, "far longer"),
        ("", "some are missing"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(typed: str, told: str) -> None:
    with pytest.raises(RecoveryCodeError, match=told) as refused:
        parse_recovery_code(typed)
    assert CODE.text()[2:10] not in str(refused.value)


@given(st.text(max_size=80))
def test_no_text_raises_anything_else(typed: str) -> None:
    try:
        parse_recovery_code(typed)
    except RecoveryCodeError:
        return


def test_a_newer_kind_of_code_is_told_apart_from_a_mistyped_one() -> None:
    packed = b"\x02" + CODE.secret
    check = int.from_bytes(hashlib.sha256(packed).digest()) >> 256 - 28
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    number = int.from_bytes(packed) << 28 | check
    text = "".join(alphabet[number >> 5 * place & 31] for place in reversed(range(32)))
    with pytest.raises(RecoveryCodeError, match="newer kind"):
        parse_recovery_code(text)


def test_each_code_has_its_own_key_and_always_the_same() -> None:
    codes = [new_recovery_code(random.Random(seed).randbytes) for seed in range(20)]
    keys = {code.key().public_key().public_bytes_raw() for code in codes}
    assert len(keys) == len(codes)
    assert codes[3].key().private_bytes_raw() == codes[3].key().private_bytes_raw()
    assert CODE.secret not in CODE.key().private_bytes_raw()


def test_a_code_is_not_shown_by_accident() -> None:
    assert "secret" not in repr(CODE)
