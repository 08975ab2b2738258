"""A lesson's files in chunks: whole again in any order, and nothing else."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import MalformedError
from sync.lessons.materials import (
    CHUNK_BYTES,
    FILE_BYTES_MAX,
    Chunk,
    chunk_count,
    chunks_of,
    decode_chunk,
    encode_chunk,
)


@given(st.integers(1, 4 * CHUNK_BYTES), st.integers())
def test_chunks_in_any_order_are_the_file_again(size: int, seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(size)
    wires = [encode_chunk(chunk) for chunk in chunks_of(data)]
    assert len(wires) == chunk_count(size)
    rng.shuffle(wires)
    whole = bytearray(size)
    for chunk in map(decode_chunk, wires):
        assert chunk.digest == hashlib.sha256(data).digest()
        whole[chunk.offset : chunk.offset + len(chunk.data)] = chunk.data
    assert bytes(whole) == data


@pytest.mark.parametrize(
    ("total", "offset", "size"),
    [
        (0, 0, 1),
        (FILE_BYTES_MAX + 1, 0, CHUNK_BYTES),
        (100, 0, 99),
        (100, 0, 101),
        (100, 50, 50),
        (CHUNK_BYTES, CHUNK_BYTES, 1),
        (2 * CHUNK_BYTES, 0, CHUNK_BYTES - 1),
    ],
)
def test_a_chunk_outside_its_file_is_refused(total: int, offset: int, size: int) -> None:
    body = encode_chunk(Chunk(digest=bytes(32), total=total, offset=offset, data=bytes(size)))
    with pytest.raises(MalformedError):
        decode_chunk(body)


@given(st.binary(max_size=200))
def test_decoding_raises_nothing_but_its_error(body: bytes) -> None:
    try:
        chunk = decode_chunk(body)
    except MalformedError:
        return
    assert encode_chunk(chunk) == body
