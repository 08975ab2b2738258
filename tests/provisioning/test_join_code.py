import ipaddress
import re

import pytest
import segno
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning.errors import MistypedCodeError, SetupError
from provisioning.join_code import JoinCode, parse_join_code, svg_qr, terminal_qr

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
HOSTS = st.one_of(
    st.lists(LABEL, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
CODES = st.builds(
    JoinCode,
    host=HOSTS,
    port=st.integers(1, 65535),
    root_pin=st.binary(min_size=32, max_size=32),
    box=st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    secret=st.binary(min_size=15, max_size=15),
)
CODE = JoinCode(
    host="hub.jiangxia.edu.cn",
    port=8443,
    root_pin=bytes(range(32)),
    box="3fa94c1e",
    secret=bytes(range(100, 115)),
)
# Worked out bit by bit from the layout in the module's docstring, apart from the code under test.
CODE_TEXT = (
    "HUB.JIANGXIA.EDU.CN:8443/2001081G81860W40J2GB1G6GW3RG2491650"
    "N2RBHG68T3CE1T7GZ7YMMR7K4CNK6ET39D9NPRVBEDXR72WKHRPHE"
)


@settings(deadline=None)
@given(CODES)
def test_a_code_is_read_back_from_its_qr_text_and_from_its_typed_form(code: JoinCode) -> None:
    assert parse_join_code(code.text()) == code
    assert parse_join_code(code.typed()) == code


@settings(deadline=None)
@given(st.text(max_size=600))
def test_no_text_raises_anything_but_a_mistyped_code(text: str) -> None:
    with pytest.raises(MistypedCodeError):
        parse_join_code(text)


@settings(deadline=None)
@given(CODES, st.data())
def test_a_changed_character_anywhere_is_noticed(code: JoinCode, data: st.DataObject) -> None:
    text = code.text()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(
        st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ:/.").filter(text[place].__ne__)
    )
    changed = text[:place] + other + text[place + 1 :]
    try:
        parsed = parse_join_code(changed)
    except MistypedCodeError:
        return
    # Only what reads the same may pass: an IPv6 address has more than one spelling.
    assert parsed == code


def test_every_character_and_every_swap_of_neighbours_counts() -> None:
    text = CODE.text()
    for place, character in enumerate(text):
        wrong = "2" if character != "2" else "3"
        with pytest.raises(MistypedCodeError):
            parse_join_code(text[:place] + wrong + text[place + 1 :])
        swapped = text[:place] + text[place : place + 2][::-1] + text[place + 2 :]
        if swapped != text:
            with pytest.raises(MistypedCodeError):
                parse_join_code(swapped)


def test_the_layout_on_paper_is_the_layout_in_code() -> None:
    assert CODE.text() == CODE_TEXT


def test_a_code_is_about_112_characters_of_qr_alphanumeric_mode() -> None:
    text = CODE.text()
    assert len(text) == 113
    assert re.fullmatch(r"[0-9A-Z $%*+\-./:]+", text)
    assert segno.make(text).mode == "alphanumeric"


def test_what_people_and_input_methods_do_to_a_code_is_forgiven() -> None:
    text = CODE.text()
    full_width = "".join(chr(ord(c) + 0xFEE0) for c in text)
    address, letters = text.split("/")
    look_alikes = letters.replace("0", "O").replace("1", "l")
    for typed in (
        text.lower(),
        f"\ufeff  {text}\r\n",
        full_width,
        f"{address} / {' '.join(letters)}",
        f"{address}/{look_alikes}",
        CODE.typed().replace("-", "—").lower(),
    ):
        assert parse_join_code(typed) == CODE


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "no '/'"),
        ("HUB:8443", "no '/'"),
        ("HUB/ABC", "no ':' and port"),
        ("HUB:0/ABC", "port"),
        ("HUB:99999/ABC", "port"),
        ("HU B_X:1/ABC", "name"),
        ("FE80::1%ETH0:1/ABC", "name"),
        (CODE.text()[:-1], "87 characters"),
        (CODE.text() + "A", "89 characters"),
        (CODE.text()[:-3] + "U" + CODE.text()[-2:], "character 86 after the '/' is 'U'"),
        (CODE.text().replace("8443", "8444"), "check does not fit"),
        ("X" * 600, "far longer"),
    ],
)
def test_an_error_names_what_is_wrong(typed: str, says: str) -> None:
    with pytest.raises(MistypedCodeError, match=re.escape(says)):
        parse_join_code(typed)


def test_neither_errors_nor_reprs_repeat_the_secret() -> None:
    letters = CODE.text().split("/")[1]
    assert CODE.secret.hex() not in repr(CODE)
    assert repr(CODE.secret) not in repr(CODE)
    assert letters not in repr(CODE)
    with pytest.raises(MistypedCodeError) as failure:
        parse_join_code(CODE.text()[:-1] + "Z")
    assert letters[60:80] not in str(failure.value)


def test_a_code_that_no_box_could_read_back_is_not_made() -> None:
    for host in ("Hub", "hub_1", "", "2001:DB8::1", "fe80::1%eth0"):
        with pytest.raises(SetupError):
            JoinCode(host=host, port=1, root_pin=bytes(32), box="00000000", secret=bytes(15))
    with pytest.raises(SetupError):
        JoinCode(host="hub", port=0, root_pin=bytes(32), box="00000000", secret=bytes(15))


def test_an_address_of_ip_version_6_needs_no_brackets() -> None:
    host = str(ipaddress.IPv6Address("2001:db8::8"))
    code = JoinCode(host=host, port=443, root_pin=bytes(32), box="00000001", secret=bytes(15))
    assert code.text().startswith("2001:DB8::8:443/")
    assert parse_join_code(code.text()) == code


def test_the_qr_is_drawn_for_terminal_and_page() -> None:
    lines = terminal_qr(CODE).splitlines()
    assert len(lines) > 15
    assert len({len(line) for line in lines}) == 1
    assert svg_qr(CODE).startswith("<svg")
