"""Frames of displays; expected bytes are those of the makers' documents, named beside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.display_framing import BUFFER_BYTES_MAX, Framing
from drivers.codecs.ifp_ascii import IfpFraming
from drivers.codecs.nec_display import NecDisplayFraming
from drivers.codecs.samsung_mdc import EVERYBODY, MdcFraming
from drivers.codecs.templates import fill, put_value, read_answer, read_request
from drivers.displays.exchange_proof import quoted_texts
from drivers.displays.framed_link import FRAMINGS
from drivers.errors import ProtocolError, RefusedError
from drivers.vector_proof import find_broken_vectors
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import LinkType, Profile, Vector

DISPLAYS = [p for p in load_catalog().profiles.values() if p.kind == "blackboard"]
EXCHANGES = [
    (profile, vector)
    for profile in DISPLAYS
    if profile.links[0].type in FRAMINGS
    for vector in profile.vectors
]
framings = st.sampled_from(sorted(FRAMINGS)).map(lambda name: FRAMINGS[name](1))


@pytest.mark.parametrize("profile", DISPLAYS, ids=lambda profile: profile.id)
def test_quoted_bytes_mean_what_the_profile_says(profile: Profile) -> None:
    assert list(find_broken_vectors(profile)) == []


@pytest.mark.parametrize(("profile", "vector"), EXCHANGES)
def test_both_ends_make_the_quoted_bytes(profile: Profile, vector: Vector) -> None:
    framing = FRAMINGS[profile.links[0].type](1)
    question, answer = quoted_texts(profile, vector)
    assert framing.encode_question(question) == bytes.fromhex(vector.request)
    assert framing.encode_answer(answer) == bytes.fromhex(vector.reply)
    assert framing.fits(question, answer)
    assert framing.fits(question, framing.refusal(question))
    assert framing.refuses(framing.refusal(question)) or framing.lacks(framing.refusal(question))


@pytest.mark.parametrize(("profile", "vector"), EXCHANGES)
@pytest.mark.parametrize("size", [1, 3])
def test_a_frame_is_the_same_in_pieces_after_noise_and_before_more(
    profile: Profile, vector: Vector, size: int
) -> None:
    framing = FRAMINGS[profile.links[0].type](1)
    frame = bytes.fromhex(vector.reply)
    stream = b"\x00\xff\r" + frame + frame
    found = [
        text
        for at in range(0, len(stream), size)
        for text in framing.receive_answers(stream[at : at + size])
    ]
    _, answer = quoted_texts(profile, vector)
    assert found == [answer, answer]


@given(framings, st.lists(st.binary(max_size=60), max_size=12))
def test_arbitrary_bytes_raise_nothing_and_are_not_kept(
    framing: Framing, pieces: list[bytes]
) -> None:
    for piece in pieces:
        for answer in framing.receive_answers(piece):
            try:
                framing.lacks(answer)
                framing.refuses(answer)
            except RefusedError as error:
                assert "secured" in str(error)  # noqa: PT017 - one text only is allowed to
        framing.receive_questions(piece)
    waiting = framing._waiting.rest  # type: ignore[attr-defined]  # every framing has one
    assert len(waiting) <= BUFFER_BYTES_MAX


@given(framings, st.text(max_size=60))
def test_arbitrary_texts_are_framed_or_refused(framing: Framing, text: str) -> None:
    try:
        frame = framing.encode_question(text)
    except ProtocolError:
        return
    assert framing.receive_questions(frame) in ([text], [text.upper()])


@given(st.sampled_from(["samsung_mdc", "nec_display", "nec_projector"]), st.data())
def test_a_spoilt_frame_is_no_answer(link: LinkType, data: st.DataObject) -> None:
    profile = next(p for p in DISPLAYS if p.links[0].type == link)
    vector = data.draw(st.sampled_from([v for v in profile.vectors if v.values]))
    frame = bytearray.fromhex(vector.reply)
    at = data.draw(st.integers(5, len(frame) - 3))
    frame[at] ^= data.draw(st.integers(1, 255))
    assert FRAMINGS[link](1).receive_answers(bytes(frame)) == []


def test_samsungs_example_reaches_every_display_and_only_there() -> None:
    # Multiple Display Control Protocol, §2: power on, id FE, sum 11.
    assert MdcFraming(EVERYBODY).encode_question("11 01") == bytes.fromhex("AA 11 FE 01 01 11")
    assert MdcFraming(3).receive_questions(bytes.fromhex("AA 11 FE 01 01 11")) == ["11 01"]
    assert MdcFraming(3).receive_questions(bytes.fromhex("AA 11 04 01 01 17")) == []


def test_another_displays_answer_on_the_same_line_is_passed_over() -> None:
    assert MdcFraming(2).receive_answers(MdcFraming(1).encode_answer("A 11 01")) == []
    assert IfpFraming(2).receive_answers(b"401+\r402+\r") == ["+"]
    assert NecDisplayFraming(1).receive_answers(NecDisplayFraming(10).encode_answer("BBE")) == []


def test_nec_frames_are_those_of_another_driver() -> None:
    # PlaceOS display_spec: monitor 10 is asked for its power and is on.
    framing = NecDisplayFraming(10)
    assert framing.encode_question("A01D6") == b"\x010J0A06\x0201D6\x03\x7f\r"
    assert framing.receive_answers(b"\x0100JB12\x020200D60000040001\x03\x7f\r") in (
        [],
        ["B0200D60000040001"],
    )


@pytest.mark.parametrize("answer", [b"+\r", b"2+\r", b"401+\r", b"\x00\x13401+\r"])
def test_the_sign_is_heard_in_every_models_spelling(answer: bytes) -> None:
    assert IfpFraming(1).receive_answers(answer) == ["+"]


@given(st.integers(0, 0xFFFF))
def test_numbers_come_back_through_a_template(number: int) -> None:
    for template in ("E0062{value:04X}", "s5{value:d}", "12 {value:04x}"):
        text = fill(template, str(number))
        assert read_request(template, text) == str(number)
        assert read_answer(template, text) == str(number)


def test_wildcards_count_in_answers_only() -> None:
    assert read_answer("D??{value}*", "D0012 and more") == "1"
    assert read_answer("rj?{value}", "rj104") == "04"
    assert read_request("%1POWR ?", "%1POWR ?") == ""
    assert read_request("%1POWR ?", "%1POWR 1") is None
    assert put_value("rj?{value}", "rj104", "14") == "rj114"


@given(st.text(max_size=30), st.text(max_size=60))
def test_arbitrary_templates_and_texts_raise_nothing_but_their_error(
    template: str, text: str
) -> None:
    read_answer(template, text)
    read_request(template, text)
    try:
        fill(template + "{value:02x}", text)
    except ProtocolError as error:
        assert "no number" in str(error)  # noqa: PT017 - the only reason there is
