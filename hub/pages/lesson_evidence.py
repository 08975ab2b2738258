"""What each school signed of a lesson, held against what the flagship signed; how it went. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.locale.sentence import Sentence
from sync.lessons.lesson_minutes import (
    REHEARSAL,
    Disagreement,
    SignedMinutes,
    disagreements,
)
from sync.lessons.root_cause import Hop, HopMinute, HopSum, Root, find_root, hop_sums

DISAGREEMENTS: Final = {
    Disagreement.RECORDED_LESS: Sentence("has less than the flagship recorded"),
    Disagreement.RECORDED_MORE: Sentence("says it has more than the flagship recorded"),
    Disagreement.LIVE_MORE: Sentence("says more came live than the flagship sent"),
    Disagreement.OTHER_BYTES: Sentence("both say whole, but the recordings are not the same"),
}
ROOTS: Final = {
    Root.NONE: Sentence("Nothing was in the way: every hop was good."),
    Root.CAMERA: Sentence("The camera: it gave fewer pictures than it can, or lost packets."),
    Root.HUB: Sentence("The hub: it was too busy, or its disk took nothing."),
    Root.FLAGSHIP_LINE: Sentence("The line of the school that teaches: it carried too little."),
    Root.RECEIVER_LINE: Sentence("The line to this school: it carried too little, or was cut."),
    Root.LAN: Sentence("The school's own network: it was too slow for the classroom's screen."),
    Root.SCREEN: Sentence("The classroom's screen: its browser could not keep up."),
    Root.UNKNOWN: Sentence("Nothing was written down of the hops."),
}
HOPS: Final = {
    Hop.CAMERA: Sentence("camera"),
    Hop.WAN: Sentence("line to the hub"),
    Hop.LINK: Sentence("the same line, as the hub saw it"),
    Hop.HUB: Sentence("hub"),
    Hop.LAN: Sentence("school's network"),
    Hop.DECODE: Sentence("screen"),
}
RUNGS: Final = {
    "main": Sentence("large picture"),
    "small": Sentence("small picture"),
    "sound": Sentence("sound and slides only"),
    REHEARSAL: Sentence("rehearsal: it does not count"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedWord:
    """One school's minutes: whether a box of it signed them, and where they do not fit."""

    is_signed: bool
    disagreements: tuple[Sentence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WayTold:
    """How the hops of one school's end fared, and where trouble came from, in words."""

    hops: tuple[HopSum, ...]
    root: Root

    @property
    def sentence(self) -> Sentence:
        return ROOTS[self.root]


def tell_ways(minutes: Mapping[int, Sequence[HopMinute]], flagship: int) -> dict[int, WayTold]:
    """Say of each school that told of its hops how it went there."""
    taught = minutes.get(flagship, ())
    return {
        school: WayTold(
            hops=tuple(hop_sums(told)),
            root=find_root(taught, told, is_flagship=school == flagship),
        )
        for school, told in minutes.items()
        if told
    }


def weigh_words(
    signed: Mapping[int, SignedMinutes],
    keys: Mapping[int, Sequence[Ed25519PublicKey]],
    flagship: int,
) -> dict[int, SignedWord]:
    """Check each school's signature and hold its minutes against the flagship's, if those hold."""
    held = {
        school: each for school, each in signed.items() if each.is_signed_by(keys.get(school, ()))
    }
    taught = held.get(flagship)
    return {
        school: SignedWord(
            is_signed=school in held,
            disagreements=(
                ()
                if taught is None or school == flagship or school not in held
                else tuple(
                    DISAGREEMENTS[found] for found in disagreements(taught.minutes, each.minutes)
                )
            ),
        )
        for school, each in signed.items()
    }


def hop_word(hop: Hop) -> Sentence:
    return HOPS[hop]


def rung_word(rung: str) -> Sentence | str:
    return RUNGS.get(rung, rung)
