"""The words of recorded lessons in the reader's language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.lesson.recordings.retention import Why
from edge.lesson.recordings.time_line import MarkKind
from edge.pages.box_view import LessonRole
from sync.lessons.lesson_minutes import REHEARSAL, Disagreement
from sync.lessons.root_cause import Hop, Root
from sync.lessons.tracks import (
    BLACKBOARD,
    CALLED_PICTURE,
    CALLED_SOUND,
    DOCUMENT,
    PICTURE,
    PICTURE_SMALL,
    SOUND,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingWords:
    roles: Mapping[str, str]
    rungs: Mapping[str, str]
    tracks: Mapping[int, str]
    gone: Mapping[str, str]
    marks: Mapping[MarkKind, str]
    disagreements: Mapping[Disagreement, str]
    hops: Mapping[Hop, str]
    roots: Mapping[Root, str]


def recording_words(_: Callable[[str], str]) -> RecordingWords:
    """Translate every word; ``_`` is a catalogue's gettext."""
    return RecordingWords(
        roles={LessonRole.FLAGSHIP: _("taught here"), LessonRole.RECEIVER: _("received here")},
        rungs={
            "main": _("large picture"),
            "small": _("small picture"),
            "sound": _("sound and slides only"),
            REHEARSAL: _("rehearsal: it does not count"),
            "": _("nothing came live"),
        },
        tracks={
            PICTURE: _("picture"),
            SOUND: _("sound"),
            PICTURE_SMALL: _("small picture"),
            CALLED_SOUND: _("sound of the class called on"),
            BLACKBOARD: _("blackboard"),
            DOCUMENT: _("document camera"),
            CALLED_PICTURE: _("picture of the class called on"),
        },
        gone={
            Why.AGE: _("it was old enough to go"),
            Why.REHEARSAL: _("rehearsals are not kept"),
            Why.RETURN: _("what classes send back is not kept"),
            Why.DISK: _("the disk was nearly full"),
            Why.PERSON: _("a person removed it"),
        },
        marks={
            MarkKind.CHAPTER: _("chapter"),
            MarkKind.SLIDE: _("slide"),
            MarkKind.QUESTION: _("question"),
            MarkKind.RESULTS: _("answers"),
            MarkKind.CALL: _("called on"),
            MarkKind.HAND: _("hand raised"),
            MarkKind.STOPPED: _("ended by the teacher"),
        },
        disagreements={
            Disagreement.RECORDED_LESS: _("has less than the flagship recorded"),
            Disagreement.RECORDED_MORE: _("says it has more than the flagship recorded"),
            Disagreement.LIVE_MORE: _("says more came live than the flagship sent"),
            Disagreement.OTHER_BYTES: _("both say whole, but the recordings are not the same"),
        },
        hops={
            Hop.CAMERA: _("camera"),
            Hop.WAN: _("line to the hub"),
            Hop.LINK: _("the same line, as the hub saw it"),
            Hop.HUB: _("hub"),
            Hop.LAN: _("school's network"),
            Hop.DECODE: _("screen"),
        },
        roots={
            Root.NONE: _("Nothing was in the way: every hop was good."),
            Root.CAMERA: _("The camera: it gave fewer pictures than it can, or lost packets."),
            Root.HUB: _("The hub: it was too busy, or its disk took nothing."),
            Root.FLAGSHIP_LINE: _("The line of the school that teaches: it carried too little."),
            Root.RECEIVER_LINE: _("The line to this school: it carried too little, or was cut."),
            Root.LAN: _("The school's own network: it was too slow for the classroom's screen."),
            Root.SCREEN: _("The classroom's screen: its browser could not keep up."),
            Root.UNKNOWN: _("Nothing was written down of the hops."),
        },
    )
