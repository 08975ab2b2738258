"""The multivariant playlist of HLS: the teacher's pictures, and the room's sound beside them.

Tags: draft-pantos-hls-rfc8216bis, §4.4.6.
"""

from collections.abc import Mapping

from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND

PLAYED = (PICTURE, PICTURE_SMALL, SOUND)
"""The tracks that players get, best first."""


def main_playlist(told: Mapping[int, tuple[str, int]], sound_name: str) -> str | None:
    """Return the playlist of tracks by their (media type, bits a second), None for none of them."""
    if not told:
        return None
    pictures = [track for track in PLAYED if track in told and track != SOUND]
    sound = told.get(SOUND) if pictures else None  # alone it is what is played
    lines = ["#EXTM3U", "#EXT-X-VERSION:9"]
    if sound is not None:
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="{sound_name}",DEFAULT=YES,'
            f'AUTOSELECT=YES,URI="{SOUND}.m3u8"'
        )
    for track in pictures or (SOUND,):
        mime, rate = told[track]
        codecs, group = [_codec(mime)], ""
        if sound is not None:
            codecs.append(_codec(sound[0]))
            rate += sound[1]
            group = ',AUDIO="sound"'
        lines.append(f'#EXT-X-STREAM-INF:BANDWIDTH={rate},CODECS="{",".join(codecs)}"{group}')
        lines.append(f"{track}.m3u8")
    return "\n".join(lines) + "\n"


def _codec(mime: str) -> str:
    """Return what stands in a media type's ``codecs``; what a quoted string may not hold is cut."""
    _, _, codecs = mime.partition('codecs="')
    return "".join(letter for letter in codecs if letter.isalnum() or letter in ".,-_")
