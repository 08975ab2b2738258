"""The lights of a lesson's two ends, and where the trouble is when there is some.

Pure. Three witnesses: what the relay saw, what the school said, what the school has on record.
"""

from collections.abc import Iterator
from typing import Final

from hub.lesson.schedule import FLAGSHIP
from hub.lesson_queries import PREPARING_MS, Lesson, LessonParty
from hub.locale.catalogue import SECOND_MS
from hub.locale.sentence import Age, Bytes, Sentence
from hub.pages.hub_view import FlowLight, SchoolLight
from hub.pages.lights import HEARTBEAT_FRESH_MS, Light, State
from sync.lessons.lesson_minutes import lacking_s

FRAGMENT_FRESH_MS: Final = 5 * SECOND_MS
FRAGMENT_LOST_MS: Final = 15 * SECOND_MS
START_GRACE_MS: Final = 30 * SECOND_MS
QUALITY_FRESH_MS: Final = 60 * SECOND_MS


def party_light(lesson: Lesson, party: LessonParty, flow: FlowLight | None, now_ms: int) -> Light:
    """Judge one end of a lesson: what the relay saw, what the school said, what it signed."""
    if lesson.cancelled:
        return Light(state=State.UNKNOWN, word=Sentence("cancelled"))
    evidence = tuple(party_evidence(party, flow, now_ms))
    if now_ms < lesson.starts_ms:
        return waiting_light(lesson, party, evidence, now_ms)
    if now_ms < lesson.ends_ms:
        return running_light(lesson, party, flow, evidence, now_ms)
    return finished_light(lesson, party, evidence)


def waiting_light(
    lesson: Lesson, party: LessonParty, evidence: tuple[Sentence, ...], now_ms: int
) -> Light:
    if now_ms < lesson.starts_ms - PREPARING_MS:
        return Light(state=State.UNKNOWN, word=Sentence("scheduled"))
    quality = party.quality
    if quality is None or now_ms - quality.at_ms > QUALITY_FRESH_MS * 10:
        return Light(
            state=State.UNKNOWN,
            word=Sentence("preparing"),
            evidence=(Sentence("nothing heard of the room yet"),),
        )
    if quality.cause:
        return Light(state=State.WARN, word=Sentence("preparing"), evidence=evidence)
    return Light(state=State.GOOD, word=Sentence("ready"), evidence=evidence)


def running_light(
    lesson: Lesson,
    party: LessonParty,
    flow: FlowLight | None,
    evidence: tuple[Sentence, ...],
    now_ms: int,
) -> Light:
    if flow is None or flow.fragment_ms is None:
        return unstarted_light(evidence, now_ms - lesson.starts_ms)
    silent_ms = now_ms - flow.fragment_ms
    said = party.quality
    fresh_word = said.state if said and now_ms - said.at_ms <= QUALITY_FRESH_MS else None
    # The first that holds; what the relay sees itself comes before what a school says.
    rules = (
        (silent_ms > FRAGMENT_LOST_MS, State.BAD, Sentence("interrupted")),
        (silent_ms > FRAGMENT_FRESH_MS, State.WARN, Sentence("stalling")),
        (fresh_word == "degraded", State.WARN, Sentence("degraded")),
        (fresh_word == "catching_up", State.WARN, Sentence("catching up")),
        (bool(flow.missing), State.WARN, Sentence("catching up")),
        (True, State.GOOD, Sentence("live")),
    )
    state, word = next((state, word) for holds, state, word in rules if holds)
    return Light(state=state, word=word, evidence=evidence)


def unstarted_light(evidence: tuple[Sentence, ...], since_start_ms: int) -> Light:
    if since_start_ms < START_GRACE_MS:
        return Light(state=State.UNKNOWN, word=Sentence("starting"), evidence=evidence)
    nothing = Sentence("no picture or sound for %(age)s", {"age": Age(since_start_ms)})
    return Light(state=State.BAD, word=Sentence("nothing yet"), evidence=(nothing, *evidence))


def finished_light(lesson: Lesson, party: LessonParty, evidence: tuple[Sentence, ...]) -> Light:
    if party.minutes is None and party.recorded_ms is None:
        return Light(
            state=State.UNKNOWN,
            word=Sentence("over"),
            evidence=(*evidence, Sentence("no record from the school yet")),
        )
    if party.minutes is None:
        if party.recording_complete:
            return Light(state=State.GOOD, word=Sentence("complete"), evidence=evidence)
        return Light(
            state=State.WARN,
            word=Sentence("catching up"),
            evidence=evidence,
            remedy=Sentence("The school asks for what is missing for two weeks."),
        )
    if not party.minutes.recorded_s and not lesson.rehearsal:
        return Light(
            state=State.BAD,
            word=Sentence("nothing recorded"),
            evidence=evidence,
            remedy=Sentence("Look at what was in the way, and hold the lesson again."),
        )
    given_s = next(
        (
            each.minutes.recorded_s
            for each in lesson.parties
            if each.role == FLAGSHIP and each.minutes
        ),
        None,
    )
    if lacking_s(party.minutes.recorded_s, party.minutes.missing_s, given_s):
        return Light(
            state=State.WARN,
            word=Sentence("incomplete"),
            evidence=evidence,
            remedy=Sentence("No more of it comes; the flagship school may have a whole recording."),
        )
    return Light(state=State.GOOD, word=Sentence("complete"), evidence=evidence)


def party_evidence(party: LessonParty, flow: FlowLight | None, now_ms: int) -> Iterator[Sentence]:
    if flow is not None and flow.fragment_ms is not None:
        age = {"age": Age(now_ms - flow.fragment_ms)}
        yield (
            Sentence("video received here %(age)s ago", age)
            if party.role == FLAGSHIP
            else Sentence("video delivered %(age)s ago", age)
        )
        yield Sentence("%(amount)s so far", {"amount": Bytes(flow.bytes)})
        if flow.missing:
            yield Sentence("%(count)s fragments missing", {"count": flow.missing})
    if party.quality is not None:
        yield Sentence(
            "the school said “%(state)s” %(age)s ago",
            {
                "state": school_word(party.quality.state),
                "age": Age(now_ms - party.quality.at_ms),
            },
        )
    if party.minutes is not None:
        yield Sentence(
            "%(live)s live, %(recorded)s recorded, %(missing)s missing",
            {
                "live": Age(party.minutes.live_s * SECOND_MS),
                "recorded": Age(party.minutes.recorded_s * SECOND_MS),
                "missing": Age(party.minutes.missing_s * SECOND_MS),
            },
        )
    if party.recorded_ms is not None:
        yield Sentence("%(age)s on record", {"age": Age(party.recorded_ms)})


# What boxes say of a lesson; anything else is shown as it was said.
SCHOOL_WORDS: Final = {
    "scheduled": Sentence("scheduled"),
    "preparing": Sentence("preparing"),
    "waiting": Sentence("waiting"),
    "live": Sentence("live"),
    "degraded": Sentence("degraded"),
    "catching_up": Sentence("catching up"),
    "done": Sentence("done"),
    "archived": Sentence("archived"),
}


def school_word(state: str | None) -> Sentence | str:
    return SCHOOL_WORDS.get(state or "", state or "?")


def find_cause(
    lesson: Lesson,
    party: LessonParty,
    lights: tuple[Light, Light],
    box: SchoolLight | None,
    now_ms: int,
) -> Sentence | None:
    """Say where the trouble of one end most likely is (camera, LAN, WAN, hub), None if none.

    ``lights`` are this end's and the flagship's. What the school itself said lately wins over
    what the hub infers.
    """
    own, flagship = lights
    if own.state not in {State.BAD, State.WARN} or now_ms >= lesson.ends_ms:
        return None
    said = party.quality
    if said is not None and said.cause and now_ms - said.at_ms <= QUALITY_FRESH_MS:
        return CAUSES.get(said.cause, Sentence("%(cause)s", {"cause": said.cause}))
    reachable = (
        box is not None
        and box.heartbeat_ms is not None
        and now_ms - box.heartbeat_ms <= HEARTBEAT_FRESH_MS
    )
    if party.role != FLAGSHIP and flagship.state is State.BAD:
        return Sentence("flagship: nothing arrives from it, so nothing can be passed on")
    if not reachable:
        return Sentence("WAN: the hub does not hear this school's box")
    if party.role == FLAGSHIP:
        return Sentence("camera or capture: the flagship's box answers, but sends too little video")
    return CAUSES["wan"]


CAUSES: Final = {
    "camera": Sentence("camera: it gives no picture or no sound"),
    "aim": Sentence("camera: it is not at its position for lessons; turn it by hand"),
    "sound": Sentence("sound: the camera sends none; look at its microphone"),
    "blackboard": Sentence("blackboard: it did not take its orders; look at its power and cable"),
    "board_picture": Sentence("blackboard's picture: it does not come; look at its encoder"),
    "document": Sentence("document camera: it gives no picture; look at its power and cable"),
    "stand_in": Sentence(
        "recording that stands in: this school cannot play it; name one in which it took part"
    ),
    "class_card": Sentence("class card: it is not heard from; the lesson does not need it"),
    "page": Sentence(
        "classroom page: it is not open, or its browser plays no sound before it was touched"
    ),
    "clock": Sentence("clock: the box does not know the time for sure"),
    "lan": Sentence("LAN: the school's own network is too slow or cut"),
    "wan": Sentence("WAN: the line to this school carries less than the lesson needs"),
    "hub": Sentence("hub: the relay was late or restarted"),
    "flagship": Sentence("flagship: nothing arrives from it, so nothing can be passed on"),
    "key": Sentence("key: the flagship has not confirmed this school's box; compare by telephone"),
    "box": Sentence("box: its disk does not take the recording; free some space"),
}
