"""libopus through its binding; PyAV's own decoder hears what came of it."""

import math
from array import array

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from drivers import opus_encoder
from drivers.codecs.rtp import RtpPacket
from drivers.codecs.sdp import Media
from drivers.codecs.sound import AudioFrame
from drivers.errors import RefusedError, SetupError
from drivers.opus_encoder import OpusFromG711, has_libopus
from tests.system_needs import give_up

RATE = 8000


def media(encoding: str = "PCMA", rate: int = RATE) -> Media:
    return Media(kind="audio", payload_type=8, encoding=encoding, clock_rate=rate, parameters={})


def encoder() -> OpusFromG711:
    pytest.importorskip("opuslib_next", exc_type=ImportError)
    if not has_libopus():
        give_up("libopus is missing; run: apt install libopus0")
    return OpusFromG711(media())


def alaw(samples: list[int]) -> bytes:
    """Encode by search among all bytes: slow, and shares nothing with the decoder's formula."""
    values = opus_encoder_values()
    return bytes(min(range(256), key=lambda byte: abs(values[byte] - one)) for one in samples)


def opus_encoder_values() -> "array[int]":
    from drivers.codecs.g711 import linear_samples  # noqa: PLC0415 - beside its only use

    return linear_samples("PCMA", bytes(range(256)))


def decoded(frames: list[AudioFrame]) -> NDArray[np.float32]:
    decoder = av.CodecContext.create("opus", "r")
    decoder.sample_rate = 48_000
    decoder.layout = "mono"
    parts = [
        one.to_ndarray().ravel().astype(np.float32)
        for frame in frames
        for one in decoder.decode(av.Packet(frame.data))
    ]
    return np.concatenate(parts)


def encoded(samples: list[int], size: int = 160) -> list[AudioFrame]:
    reader = encoder()
    data = alaw(samples)
    packets = [data[at : at + size] for at in range(0, len(data), size)]
    return [
        frame
        for number, payload in enumerate(packets)
        for frame in reader.take(RtpPacket(8, False, number, number * size, 7, payload))
    ]


def test_a_tone_over_the_telephone_is_the_same_tone_in_opus() -> None:
    tone = [int(12_000 * math.sin(2 * math.pi * 1000 * n / RATE)) for n in range(RATE)]
    frames = encoded(tone, 200)
    assert {frame.samples for frame in frames} == {960}
    heard = decoded(frames)
    spectrum = np.abs(np.fft.rfft(heard[4800:43_200]))
    assert np.argmax(spectrum) * 48_000 / 38_400 == pytest.approx(1000, abs=5)


def test_a_clap_is_heard_when_it_was_taken() -> None:
    silence = [0] * RATE
    clap = [*silence[:4000], *([14_000, -14_000] * 20), *silence[4040:]]
    frames = encoded(clap)
    heard = decoded(frames)
    begins = (frames[0].timestamp + 2**31) % 2**32 - 2**31  # before 0: what the encoder looks ahead
    at_s = np.argmax(np.abs(heard)) / 48_000 + begins / RATE
    assert at_s == pytest.approx(4020 / RATE, abs=0.004)


def test_without_the_library_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opus_encoder, "has_libopus", lambda: False)
    with pytest.raises(SetupError, match="apt install libopus0"):
        OpusFromG711(media())


def test_other_sound_than_the_telephones_is_refused() -> None:
    with pytest.raises(RefusedError, match="16000 Hz"):
        OpusFromG711(media("PCMU", 16_000))
