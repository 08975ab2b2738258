import contextlib
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import ForgedError, KeyMissingError, MalformedError, SyncError
from sync.lessons.caption_tracks import (
    PIECE_BYTES_MAX,
    CaptionLines,
    Piece,
    open_captions,
    seal_captions,
)
from sync.segments.sealing import DataKey, key_id

KEY = DataKey(bytes(range(32)))
KEYS = {key_id(KEY): KEY}
LINES = [(1_790_000_000_000, 1_790_000_002_000, "今天学习圆的周长")]


def sealed(lines: CaptionLines, language: str = "zh-CN", lesson: str = "a1") -> list[Piece]:
    return seal_captions(lesson, language, lines, KEY, random.Random(3).randbytes)


def long_lines() -> list[tuple[int, int, str]]:
    rng = random.Random(7)
    return [
        (at, at + 1, "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(30)))
        for at in range(400)
    ]


def test_captions_come_back_from_their_pieces_in_any_order() -> None:
    lines = long_lines()
    pieces = sealed(lines)
    assert len(pieces) > 2
    assert all(len(piece.sealed) <= PIECE_BYTES_MAX for piece in pieces)
    assert open_captions(pieces[::-1], "zh-CN", KEYS) == lines
    assert open_captions(pieces, "en", KEYS) == []


def test_nobody_reads_them_without_the_lessons_key() -> None:
    (piece,) = sealed(LINES)
    assert "圆".encode() not in piece.sealed
    with pytest.raises(KeyMissingError):
        open_captions([piece], "zh-CN", {})


def test_pieces_of_another_lesson_language_or_version_are_refused() -> None:
    pieces = sealed(long_lines())
    with pytest.raises(ForgedError, match="not whole"):
        open_captions(pieces[:-1], "zh-CN", KEYS)
    with pytest.raises(ForgedError, match="not whole"):
        open_captions([*pieces[:-1], replace(pieces[-1], sealed=b"x")], "zh-CN", KEYS)
    (piece,) = sealed(LINES)
    with pytest.raises(ForgedError, match="altered"):
        open_captions([replace(piece, lesson="a2")], "zh-CN", KEYS)
    with pytest.raises(ForgedError, match="altered"):
        open_captions([replace(piece, language="en")], "en", KEYS)


def test_more_than_a_lesson_says_is_refused() -> None:
    rng = random.Random(9)
    lines = [(at, at + 1, rng.randbytes(400).hex()) for at in range(2000)]
    with pytest.raises(MalformedError, match="leave some out"):
        sealed(lines)


@given(st.binary(max_size=200), st.binary(max_size=40), st.integers(-3, 40), st.binary(max_size=9))
def test_whatever_a_row_holds_it_is_read_or_refused(
    content: bytes, digest: bytes, pieces: int, key: bytes
) -> None:
    piece = Piece(
        lesson="a1", language="en", digest=digest, lesson_key=key, pieces=pieces, sealed=content
    )
    with contextlib.suppress(SyncError):
        open_captions([piece], "en", KEYS)
