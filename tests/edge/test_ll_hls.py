"""A room's stream as LL-HLS: the draft's rules for playlists, and bytes as they came."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.classroom.ll_hls import (
    INITS_MAX,
    KEPT_BYTES_MAX,
    KEPT_S,
    PART_BYTES_MAX,
    TARGET_S,
    LiveHls,
    Rendition,
)
from sync.lessons.fragment_log import Kind, TakeId
from sync.lessons.tracks import PICTURE, SOUND

FIRST = 1000
TAKE = TakeId(b"take-one")
MIMES = {PICTURE: b'video/mp4; codecs="avc1.42E01F"', SOUND: b'audio/mp4; codecs="mp4a.40.2"'}
STEP_US = {PICTURE: 40_000, SOUND: 85_333}


def init(track: int, take: TakeId = TAKE, data: bytes = b"ftypmoov") -> StreamItem:
    mime = MIMES[track]
    return StreamItem(
        take=take,
        kind=Kind.INIT,
        track=track,
        number=0,
        keyframe=False,
        capture_ms=0,
        decode_us=0,
        data=bytes((len(mime),)) + mime + data,
    )


def media(
    number: int,
    track: int = PICTURE,
    *,
    take: TakeId = TAKE,
    group: int = 50,
    at_us: int | None = None,
) -> StreamItem:
    at_us = number * STEP_US[track] if at_us is None else at_us
    return StreamItem(
        take=take,
        kind=Kind.MEDIA,
        track=track,
        number=number,
        keyframe=track == SOUND or number % group == 0,
        capture_ms=1_790_000_000_000 + at_us // 1000,
        decode_us=at_us,
        data=b"%d.%d;" % (track, number),
    )


def playing(seconds: float, group: int = 50) -> LiveHls:
    hls = LiveHls(FIRST, lambda: None)
    items = [init(PICTURE), init(SOUND)]
    for track in (PICTURE, SOUND):
        items += [media(n, track, group=group) for n in range(int(seconds * 1e6 / STEP_US[track]))]
    for item in items[:2] + sorted(items[2:], key=lambda each: each.decode_us):
        hls.add(item)
    return hls


@pytest.mark.parametrize("step_us", [0, 1, -40_000])
@pytest.mark.parametrize("group", [1, 1000])
def test_times_that_do_not_rise_fill_no_memory(step_us: int, group: int) -> None:
    hls = LiveHls(FIRST, lambda: None)
    hls.add(init(PICTURE))
    whole = bytes(4 * 1024 * 1024)
    for number in range(100):
        at_us = 10**9 + number * step_us
        hls.add(replace(media(number, group=group, at_us=at_us), data=whole))
    track = hls._renditions[PICTURE]
    kept = sum(segment.size for segment in track._segments)
    assert kept <= KEPT_BYTES_MAX + KEPT_BYTES_MAX // 2
    assert track._open is not None
    assert track._open.size <= PART_BYTES_MAX + len(whole)


def test_a_source_that_begins_anew_without_end_fills_no_memory() -> None:
    hls = LiveHls(FIRST, lambda: None)
    for number in range(1000):
        hls.add(init(PICTURE, data=b"%d" % number))
    inits = [hls._renditions[PICTURE].init(number) for number in range(1000)]
    assert sum(each is not None for each in inits) == INITS_MAX
    assert inits[-1] == b"999"


def rendition(hls: LiveHls, track: int) -> Rendition:
    found = hls.rendition(track)
    assert found is not None
    return found


def playlist(hls: LiveHls, track: int = PICTURE) -> str:
    return rendition(hls, track).playlist(hls.others(track))


def attribute(text: str, tag: str, name: str) -> float:
    found = re.search(rf"#{tag}:(?:.*,)?{name}=([0-9.]+)", text)
    assert found, text
    return float(found[1])


@pytest.mark.parametrize("track", [PICTURE, SOUND])
@pytest.mark.parametrize("group", [25, 50, 250])
def test_parts_and_segments_keep_the_lengths_they_are_told_with(track: int, group: int) -> None:
    text = playlist(playing(30, group), track)
    target_s = attribute(text, "EXT-X-PART-INF", "PART-TARGET")
    assert 0.1 < target_s <= 0.25
    assert attribute(text, "EXT-X-SERVER-CONTROL", "PART-HOLD-BACK") >= 2 * target_s
    before: list[float] = []
    told_s = 0.0
    for line in text.splitlines():
        if line.startswith("#EXT-X-PART:"):
            before.append(float(line.split("=")[1].split(",")[0]))
        elif line.startswith("#EXTINF:"):
            seconds = float(line[8:-1])
            assert round(seconds) <= TARGET_S
            told_s += seconds
            if not before:
                assert told_s <= KEPT_S  # the oldest are told without their parts
                continue
            assert seconds == pytest.approx(sum(before), abs=0.001)
            assert all(0.85 * target_s <= part <= target_s for part in before[:-1])
            assert before[-1] <= target_s
            before = []
    assert (
        sum(float(line[8:-1]) for line in text.splitlines() if line[:8] == "#EXTINF:")
        >= KEPT_S - TARGET_S
    )


def test_a_segment_is_its_parts_and_all_together_are_the_fragments_as_they_came() -> None:
    hls = playing(9)
    found = rendition(hls, PICTURE)
    whole = b""
    for line in playlist(hls).splitlines():
        if line.startswith("1/") and line.endswith(".m4s"):
            number = int(line.removeprefix("1/").removesuffix(".m4s"))
            parts: list[bytes] = []
            while (part := found.part(number, len(parts))) is not None:
                parts.append(part)
            assert found.segment(number) == b"".join(parts)
            whole += b"".join(parts)
    assert whole == b"".join(b"1.%d;" % n for n in range(200))


def test_a_segment_begins_with_a_keyframe_and_its_first_part_says_so() -> None:
    lines = [line for line in playlist(playing(20)).splitlines() if "-PART:" in line]
    assert {line.endswith("INDEPENDENT=YES") for line in lines if ".0.m4s" in line} == {True}
    assert {line.endswith("INDEPENDENT=YES") for line in lines if ".0.m4s" not in line} == {False}


def test_a_player_may_wait_for_what_comes_next_and_for_nothing_else() -> None:
    hls = LiveHls(FIRST, lambda: None)
    for item in (init(PICTURE), *(media(n) for n in range(6))):
        hls.add(item)
    found = rendition(hls, PICTURE)
    assert found.has(FIRST, 0)
    assert not found.has(FIRST, 1)
    assert not found.has(FIRST, None)
    assert found.is_hinted(FIRST, 1)
    assert not found.is_hinted(FIRST, 2)
    assert 'EXT-X-PRELOAD-HINT:TYPE=PART,URI="1/1000.1.m4s"' in playlist(hls)
    for number in range(6, 60):
        hls.add(media(number))
    assert found.has(FIRST, 1)
    assert found.has(FIRST, None)
    assert not found.is_far_ahead(FIRST + 3)
    assert found.is_far_ahead(FIRST + 4)


def test_a_new_take_is_a_discontinuity_with_a_map_of_its_own_in_both_playlists() -> None:
    hls = playing(5)
    other = TakeId(b"take-two")
    for track in (PICTURE, SOUND):
        hls.add(init(track, other, b"ftypmooV"))
        for number in range(60):
            hls.add(media(number, track, take=other))
    for track in (PICTURE, SOUND):
        text = playlist(hls, track)
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1
        assert f'#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="{track}/init-1.mp4"' in text
    assert rendition(hls, PICTURE).init(0) == b"ftypmoov"
    assert rendition(hls, PICTURE).init(1) == b"ftypmooV"


def test_discontinuities_that_left_the_playlist_are_counted() -> None:
    hls = playing(5)
    other = TakeId(b"take-two")
    hls.add(init(PICTURE, other))
    for number in range(1000):
        hls.add(media(number, take=other))
    text = playlist(hls)
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1" in text
    assert "#EXT-X-DISCONTINUITY\n" not in text
    assert rendition(hls, PICTURE).init(0) is None


def test_a_hole_makes_no_part_longer_than_told() -> None:
    hls = LiveHls(FIRST, lambda: None)
    hls.add(init(PICTURE))
    for number in [*range(57), *range(150, 260)]:
        hls.add(media(number))
    text = playlist(hls)
    target_s = attribute(text, "EXT-X-PART-INF", "PART-TARGET")
    parts = re.findall(r"#EXT-X-PART:DURATION=([0-9.]+)", text)
    assert parts
    assert all(0 < float(part) <= target_s for part in parts)


def test_the_main_playlist_names_sound_as_a_rendition_of_its_own() -> None:
    text = playing(9).main("sound")
    assert text is not None
    assert 'CODECS="avc1.42E01F,mp4a.40.2",AUDIO="sound"\n1.m3u8' in text
    assert (
        'TYPE=AUDIO,GROUP-ID="sound",NAME="sound",DEFAULT=YES,AUTOSELECT=YES,URI="2.m3u8"' in text
    )
    assert LiveHls(0, lambda: None).main("sound") is None


@given(st.lists(st.tuples(st.integers(0, 400_000), st.booleans()), min_size=2, max_size=300))
def test_whatever_the_cameras_clock_says_the_playlist_keeps_its_promises(
    steps: list[tuple[int, bool]],
) -> None:
    hls = LiveHls(FIRST, lambda: None)
    hls.add(init(PICTURE))
    at_us = 0
    for number, (step_us, keyframe) in enumerate(steps):
        hls.add(media(number, group=1 if keyframe else number + 2, at_us=at_us))
        at_us += step_us
    if hls.rendition(PICTURE) is None:
        return
    text = playlist(hls)
    numbers = [int(n) for n in re.findall(r"^1/([0-9]+)\.m4s$", text, re.MULTILINE)]
    assert numbers == [numbers[0] + place for place in range(len(numbers))]
    target_s = attribute(text, "EXT-X-PART-INF", "PART-TARGET")
    parts = [float(part) for part in re.findall(r"EXT-X-PART:DURATION=([0-9.]+)", text)]
    assert all(part <= target_s + 0.0005 for part in parts)
    segments = [float(each) for each in re.findall(r"#EXTINF:([0-9.]+)", text)]
    assert all(round(each) <= TARGET_S for each in segments)
