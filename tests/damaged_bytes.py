"""Real bytes as a bad line or a hostile peer leaves them, for the tests of decoders."""

from collections.abc import Sequence

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, examples: Sequence[bytes], extremes: Sequence[bytes]) -> bytes:
    """Draw an example changed up to four times; ``extremes`` are what is put in between."""
    data = bytearray(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        span = draw(st.integers(1, 12))
        match draw(st.sampled_from(("flip", "cut", "drop", "insert", "repeat", "splice"))):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + span]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=9) | st.sampled_from(extremes))
            case "repeat":
                data[at:at] = data[at : at + span] * draw(st.sampled_from((2, 300)))
            case _:
                data[at:] = draw(st.sampled_from(examples))[at:]
    return bytes(data)
