import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.recordings.webvtt import (
    CUES_MAX,
    FILE_BYTES_MAX,
    LESSON_MS_MAX,
    Cue,
    read_vtt,
    write_vtt,
)
from sync.errors import MalformedError

CAPTIONS = """\
\ufeffWEBVTT - 圆的周长
Language: zh-CN

NOTE
said by the teacher

STYLE
::cue { color: yellow }

1
00:01.000 --> 00:04.500 line:90% align:center
<v 张老师>今天我们学习<b>圆的周长</b>。

01:00:00.250 --> 01:00:02.000
C &lt; πd &amp; r
zweite Zeile

00:00.000 --> 00:01.000

"""


def test_captions_are_read_as_plain_text_in_order_of_time() -> None:
    assert read_vtt(CAPTIONS.encode()) == [
        Cue(from_ms=1000, until_ms=4500, text="今天我们学习圆的周长。"),
        Cue(from_ms=3_600_250, until_ms=3_602_000, text="C < πd & r\nzweite Zeile"),
    ]


def test_lines_may_end_in_any_of_three_ways() -> None:
    for end in ("\r\n", "\r"):
        assert read_vtt(CAPTIONS.replace("\n", end).encode()) == read_vtt(CAPTIONS.encode())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1\n00:00:01,000 --> 00:00:02,000\nSubRip", "does not begin with WEBVTT"),
        ("WEBVTTX\n", "does not begin with WEBVTT"),
        ("WEBVTT\n\n00:01.0 --> 00:02.000\nx", "line 3: write a time"),
        ("WEBVTT\n\nid\nno time\nx", "line 3: no time is given"),
        ("WEBVTT\n\n00:02.000 --> 00:02.000\nx", "ends before it begins"),
        ("WEBVTT\n\n00:02.000 --> 999:00:02.000\nx", "too late"),
        ("WEBVTT\n\n00:60.000 --> 01:02.000\nx", "line 3"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\na\n00:02.000 --> 00:03.000\nb", "line 4"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n" + "x" * 1001, "1000 characters"),
        ("WEBVTT\n\n" + "00:01.000 --> 00:02.000\nx\n\n" * (CUES_MAX + 1), "5000 at most"),
        ("WEBVTT" + " " * FILE_BYTES_MAX, "at most"),
    ],
)
def test_what_is_no_webvtt_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        read_vtt(text.encode())


def test_other_encodings_are_refused_with_the_remedy() -> None:
    with pytest.raises(MalformedError, match="UTF-8"):
        read_vtt("WEBVTT\n\n00:01.000 --> 00:02.000\n圆的周长".encode("gb18030"))


cues = st.lists(
    st.builds(
        lambda at, lasts, text: Cue(from_ms=at, until_ms=at + lasts, text=text),
        st.integers(0, LESSON_MS_MAX - 10_000),
        st.integers(1, 10_000),
        st.text(
            st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp", "Zs")),
            min_size=1,
            max_size=60,
        ).filter(lambda text: bool(text.strip())),
    ),
    max_size=8,
)


@given(cues)
def test_what_is_written_is_read_again(written: list[Cue]) -> None:
    read = read_vtt(write_vtt(written).encode())
    assert read == sorted(written, key=lambda cue: (cue.from_ms, cue.until_ms))


@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"WEBVTT\n\n{text}".encode())
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        read_vtt(data)
