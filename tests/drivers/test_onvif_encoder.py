"""What a camera is told when it is to encode in H.264."""

from hypothesis import given
from hypothesis import strategies as st

from drivers.cameras import onvif_encoder
from drivers.cameras.onvif_answers import (
    EncoderConfiguration,
    EncoderOptions2,
    EncoderRate,
    FloatSpan,
    Resolution,
    Span,
)


def test_h264_by_the_second_service_stays_within_what_is_offered() -> None:
    before = EncoderConfiguration(
        token="main-encoder",
        resolution=Resolution(3840, 2160),
        quality=9.0,
        rate_control=EncoderRate(frame_rate_limit=30.0, bitrate_limit=40_000),
    )
    options = EncoderOptions2(
        encoding="H264",
        quality_range=FloatSpan(1.0, 6.0),
        resolutions_available=[Resolution(640, 360), Resolution(1920, 1080)],
        bitrate_range=Span(64, 8_000),
        gov_length_range="1 15",
        frame_rates_supported="12.5 25 50",
        profiles_supported="Extended High Main",
    )
    assert onvif_encoder.in_h264_by_second(before, options) == {
        "token": "main-encoder",
        "Name": "main-encoder",
        "UseCount": 1,
        "Encoding": "H264",
        "Resolution": {"Width": 1920, "Height": 1080},
        "RateControl": {"FrameRateLimit": 25, "BitrateLimit": 8_000},
        "Quality": 6.0,
        "GovLength": 15,
        "Profile": "Main",
    }


def test_a_camera_that_tells_hardly_anything_of_h264_is_told_no_more_than_it_asked_for() -> None:
    told = onvif_encoder.in_h264_by_second(
        EncoderConfiguration(token="e"), EncoderOptions2(encoding="H264")
    )
    assert "Profile" not in told
    assert "Multicast" not in told
    assert told["GovLength"] == 25


@given(st.text(max_size=200))
def test_numbers_of_a_list_are_finite_whatever_is_written(text: str) -> None:
    found = onvif_encoder.numbers(text)
    assert all(abs(number) <= 1e6 for number in found)
    assert len(found) <= onvif_encoder.WORDS_MAX
