from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import adms
from drivers.codecs.device_text import decode_text
from drivers.errors import ProtocolError

ATTLOG = "1001\t2026-11-20 07:58:03\t0\t4\t0\t0\t0\t0\t36.5\t0\t+28800\n"


def test_a_record_says_who_was_seen_when_and_nothing_more() -> None:
    (punch,) = adms.read_attlog(ATTLOG).punches
    assert punch == adms.Punch(
        number="1001", card="", local=datetime.fromisoformat("2026-11-20T07:58:03"), offset_s=28800
    )


def test_old_firmware_separates_by_spaces() -> None:
    (punch,) = adms.read_attlog("1001 2026-11-20 07:58:03 0 1\n").punches
    assert (punch.number, punch.offset_s) == ("1001", None)


@pytest.mark.parametrize(
    "line",
    [
        "garbage\tnot-a-date",
        "1001\t9999-11-20 07:58:03",
        "1001\t2026-02-30 07:58:03",
        "1001\t2026-11-20 07:58:03\t" + "\t" * 8 + "+99999",
        "1001' OR '1'='1\t2026-11-20 07:58:03",
        "\t2026-11-20 07:58:03",
        "1001",
    ],
)
def test_a_line_that_is_no_record_costs_only_itself(line: str) -> None:
    found = adms.read_attlog(f"{line}\n{ATTLOG}")
    assert (len(found.punches), found.refused, found.lines) == (1, 1, 2)


def test_more_records_than_a_terminal_pushes_are_refused() -> None:
    with pytest.raises(ProtocolError, match="more than"):
        adms.read_attlog(ATTLOG * (adms.RECORDS_MAX + 1))


def test_an_access_panel_tells_cards_and_its_doors_count_nowhere() -> None:
    begin = "time=2017-01-10 11:51:32\tpin=0\tcardno="
    text = (
        f"{begin}8075634\tevent=27\r\n"
        f"{begin}0\tevent=200\r\n"
        "time=2017-01-10 11:51:33\tpin=17\tcardno=0\tevent=0\r\n"
        "time=yesterday\tpin=17\tevent=0\r\n"
    )
    found = adms.read_rtlog(text)
    assert [(each.number, each.card) for each in found.punches] == [("", "0008075634"), ("17", "")]
    assert found.refused == 1


@pytest.mark.parametrize(
    ("written", "card"),
    [
        ("[15CD5B07]", "0123456789"),  # bytes from the lowest on: 0x075BCD15
        ("[72397B0000]", "0008075634"),
        ("8075634", "0008075634"),
        ("[0000000000]", ""),
        ("0", ""),
        ("", ""),
        ("';DROP", ""),
    ],
)
def test_a_users_card_is_read_in_both_notations(written: str, card: str) -> None:
    assert adms.read_card(written) == card


def test_of_users_only_number_and_card_are_read() -> None:
    body = (
        "OPLOG 4\t0\t2019-07-03 18:25:45\t0\t0\t0\t0\n"
        "USER PIN=3\tName=张伟\tPri=0\tPasswd=1234\tCard=[72397B00]\tGrp=1\tTZ=0\n"
        "FP PIN=3\tFID=0\tSize=1368\tValid=1\tTMP=SrlTUzIx\n"
        "USER PIN=\tName=\n"
    )
    users, lines = adms.read_enrolled(decode_text(body.encode("gb2312")))
    assert users == [adms.Enrolled(number="3", card="0008075634")]
    assert lines == 4
    assert "张伟" not in repr(users)


def test_results_are_read_among_what_was_asked_for() -> None:
    body = "ID=8487&Return=0&CMD=DATA\nID=8488&Return=-10&CMD=DATA\n~DeviceName=SIM\nID=x\n"
    assert adms.read_results(body) == [
        adms.Result(command=8487, code=0),
        adms.Result(command=8488, code=-10),
    ]


def test_the_version_is_told_in_two_ways() -> None:
    info = "Ver 2.0.12-20150625,3,0,12,192.168.16.27,10,7,15,0,111"
    assert adms.firmware_of_info(info) == "Ver 2.0.12-20150625"
    options = "~DeviceName=SpeedFace,FWVersion=Ver 8.0.4,UserCount=31"
    assert adms.firmware_of_options(options) == "Ver 8.0.4"


def test_a_terminal_is_told_to_push_at_once_and_no_templates() -> None:
    text = adms.write_options(
        "0316144680030", stamp="12", delay_s=5, utc_offset=timedelta(hours=5, minutes=30)
    )
    lines = text.splitlines()
    assert lines[0] == "GET OPTION FROM: 0316144680030"
    assert {"ATTLOGStamp=12", "Realtime=1", "Delay=5", "TimeZone=330"} <= set(lines)
    assert "FP" not in text
    assert "TimeZone=8\n" in adms.write_options(
        "X", stamp="None", delay_s=5, utc_offset=timedelta(hours=8)
    )


def test_a_full_push_is_read_and_its_last_line_feed_is_no_record() -> None:
    assert adms.read_attlog("1\t2026-11-22 08:00:00\n" * adms.RECORDS_MAX).refused == 0


def test_a_long_card_is_told_as_its_number_even_where_no_digit_is_a_letter() -> None:
    assert f"Card={0x04112233445566}\t" in adms.put_user("900000017", "04112233445566")


def test_a_user_is_put_without_a_name() -> None:
    text = adms.put_user("900000017", "0008075634")
    assert "\tName=\t" in text
    assert "Card=0008075634" in text
    assert adms.write_commands([(7, text), (8, adms.REBOOT)]).startswith("C:7:DATA UPDATE USERINFO")
    assert adms.write_commands([]) == "OK"


def test_a_clock_is_set_as_terminals_count_time() -> None:
    local = datetime(2026, 11, 22, 7, 30, 5, tzinfo=timezone(timedelta(hours=8)))
    # ((26 years * 12 + 10 months) * 31 + 21 days) * 86400 and the time of day.
    count = ((26 * 12 + 10) * 31 + 21) * 86_400 + 27_005
    assert adms.set_time(local) == f"SET OPTION DateTime={count}"
    assert adms.write_time(local) == f"DateTime={count},ServerTZ=+0800"
    assert adms.write_time(local.astimezone(UTC)).endswith("ServerTZ=+0000")


@pytest.mark.parametrize("serial", ["", "abc", "A" * 33, "0316144680030'--", "../etc", "单号1234"])
def test_what_is_no_serial_number_is_refused(serial: str) -> None:
    with pytest.raises(ProtocolError):
        adms.check_serial(serial)


LINES = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from([ATTLOG, "USER PIN=3\tCard=[15CD5B07]", "time=\tpin=", "ID=1&Return=0"]),
    ),
    max_size=6,
).map("\n".join)


@given(LINES)
def test_arbitrary_text_raises_nothing_but_a_protocol_error(text: str) -> None:
    for read in (adms.read_attlog, adms.read_rtlog, adms.read_enrolled, adms.read_results):
        read(text)
    adms.firmware_of_info(text)
    adms.firmware_of_options(text)
    adms.read_card(text)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_some_text(body: bytes) -> None:
    adms.read_attlog(decode_text(body))
