"""Short bodies refer to what all of them have in common; every frame opens with it."""

import hashlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import MalformedError
from sync.segments.body_dictionary import BODY_DICTIONARY
from sync.segments.segment import SHORT_BODY_BYTES_MAX, compress, decompress


def test_the_dictionary_is_the_one_of_every_node_in_the_field() -> None:
    digest = hashlib.sha256(BODY_DICTIONARY).hexdigest()
    assert digest == "2715396ad21906787641631e59d1c18ec014362fcd2f8fda8526d9e2019f4a63"


@given(st.binary(max_size=2 * SHORT_BODY_BYTES_MAX))
def test_whatever_was_compressed_opens(content: bytes) -> None:
    assert decompress(compress(content)) == content


@given(st.binary(max_size=2 * SHORT_BODY_BYTES_MAX))
def test_a_frame_made_without_the_dictionary_opens(content: bytes) -> None:
    assert decompress(zstandard.ZstdCompressor().compress(content)) == content


@given(st.binary(max_size=300))
def test_a_frame_that_is_none_is_called_malformed(packed: bytes) -> None:
    try:
        decompress(packed)
    except MalformedError:
        return


def test_a_short_body_does_not_carry_what_all_have() -> None:
    content = BODY_DICTIONARY[-336:]
    assert len(compress(content)) < len(content) // 10


def test_long_bodies_stay_as_they_were() -> None:
    content = bytes(range(256)) * (SHORT_BODY_BYTES_MAX // 256 + 1)
    packed = compress(content)
    assert zstandard.ZstdDecompressor().decompress(packed) == content


def test_a_frame_of_another_dictionary_is_not_misread_as_ours() -> None:
    other = zstandard.ZstdCompressionDict(
        b"another node's words, of another version" * 9, dict_type=zstandard.DICT_TYPE_RAWCONTENT
    )
    content = b"another node's words, of another version"
    packed = zstandard.ZstdCompressor(dict_data=other, write_checksum=True).compress(content)
    with pytest.raises(MalformedError):
        decompress(packed)
