"""From evidence to a light: good, look at it, broken or not known, and the words beside it.

Pure. Nothing is good by default: without evidence a light is grey, and every light carries what
it was decided by and how old that is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hub.locale.catalogue import DAY_MS, MINUTE_MS
from hub.locale.sentence import Age, Argument, Bytes, Sentence
from hub.pages.hub_view import SchoolLight
from hub.pages.words import ALARMS, word_of
from hub.queries import SchoolNow

# A box speaks at least once a minute (segments are sealed after 30 to 60 s).
HEARTBEAT_FRESH_MS: Final = 2 * MINUTE_MS
HEARTBEAT_LOST_MS: Final = 10 * MINUTE_MS
LAG_LATE_MS: Final = 10 * MINUTE_MS
# Certificates last 30 days and are renewed at a third of that; a week left means it does not work.
CERTIFICATE_SOON_MS: Final = 7 * DAY_MS


class State(StrEnum):
    """How a light looks; the order is the order of attention."""

    BAD = "bad"
    WARN = "warn"
    UNKNOWN = "unknown"
    GOOD = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """A state with its word, its evidence with ages and, where somebody must act, the remedy."""

    state: State
    word: Sentence
    evidence: tuple[Sentence, ...] = ()
    remedy: Sentence | None = None


def school_light(now: SchoolNow, light: SchoolLight | None, now_ms: int) -> Light:
    """Judge one school's box by what the hub itself saw."""
    if light is None or light.heartbeat_ms is None:
        return Light(
            state=State.UNKNOWN,
            word=Sentence("never heard from"),
            evidence=(Sentence("no heartbeat yet"),),
            remedy=Sentence(
                "No box has spoken for this school. Run “schoolnode-hub invite --school "
                "%(school)s” and give the join code to the school.",
                {"school": str(now.school.school)},
            ),
        )
    evidence = tuple(school_evidence(light, now_ms))
    silent_ms = now_ms - light.heartbeat_ms
    if silent_ms > HEARTBEAT_LOST_MS:
        return Light(
            state=State.BAD,
            word=Sentence("silent"),
            evidence=evidence,
            remedy=Sentence(
                "Silent for %(age)s. Check the box's power and network at the school; "
                "it keeps its data and sends it when it is back.",
                {"age": Age(silent_ms)},
            ),
        )
    return (
        alarm_light(now, evidence, now_ms)
        or trouble_light(now, evidence, now_ms)
        or slow_light(light, evidence, now_ms)
        or Light(
            state=State.GOOD,
            word=Sentence("drill") if now.drills else Sentence("connected"),
            evidence=evidence,
        )
    )


def alarm_light(now: SchoolNow, evidence: tuple[Sentence, ...], now_ms: int) -> Light | None:
    """Return the light of the worst alarm that no all-clear has ended, None if there is none."""
    standing = [alarm for alarm in now.alarms if alarm.closed_ms is None]
    if not standing:
        return None
    untaken = [alarm for alarm in standing if alarm.taken_ms is None]
    latest = (untaken or standing)[0]
    age = Age(now_ms - latest.at_ms)
    told: Mapping[str, Argument] = {
        "alarm": word_of(ALARMS, latest.alarm),
        "place": latest.place or "?",
        "age": age,
        "who": latest.taken_by or "?",
    }
    raised = Sentence("alarm %(age)s ago", {"age": age})
    if untaken:
        return Light(
            state=State.BAD,
            word=Sentence("alarm"),
            evidence=(raised, *evidence),
            remedy=Sentence("Alarm “%(alarm)s” at %(place)s, %(age)s ago. Call the school.", told),
        )
    return Light(
        state=State.WARN,
        word=Sentence("alarm taken over"),
        evidence=(raised, *evidence),
        remedy=Sentence(
            "Alarm “%(alarm)s” at %(place)s, %(age)s ago: %(who)s takes care of it.", told
        ),
    )


def trouble_light(now: SchoolNow, evidence: tuple[Sentence, ...], now_ms: int) -> Light | None:
    """Return the light of safety inputs that could not tell of an alarm, None if all could."""
    if not now.troubles:
        return None
    longest = now.troubles[0]
    return Light(
        state=State.WARN,
        word=Sentence("safety input"),
        evidence=evidence,
        remedy=Sentence(
            "“%(name)s” could not tell of an alarm for %(age)s. Have its wiring checked.",
            {"name": longest.name, "age": Age(now_ms - longest.since_ms)},
        ),
    )


def slow_light(light: SchoolLight, evidence: tuple[Sentence, ...], now_ms: int) -> Light | None:
    """Return the light of a box that works but not as it should, None if all is well."""
    assert light.heartbeat_ms is not None
    silent_ms = now_ms - light.heartbeat_ms
    if light.not_after_ms is not None and light.not_after_ms - now_ms < CERTIFICATE_SOON_MS:
        return Light(
            state=State.WARN,
            word=Sentence("certificate"),
            evidence=evidence,
            remedy=Sentence(
                "Its certificate ends in %(age)s and was not renewed. "
                "Run “schoolnode doctor” on the box.",
                {"age": Age(light.not_after_ms - now_ms)},
            ),
        )
    if silent_ms > HEARTBEAT_FRESH_MS:
        return Light(
            state=State.WARN,
            word=Sentence("quiet"),
            evidence=evidence,
            remedy=Sentence(
                "Quiet for %(age)s. Nothing is lost; if it lasts, check the school's line.",
                {"age": Age(silent_ms)},
            ),
        )
    if light.lag_ms is not None and light.lag_ms > LAG_LATE_MS:
        return Light(
            state=State.WARN,
            word=Sentence("behind"),
            evidence=evidence,
            remedy=Sentence(
                "Its data is %(age)s behind. The line is slow; it catches up by itself.",
                {"age": Age(light.lag_ms)},
            ),
        )
    return None


def school_evidence(light: SchoolLight, now_ms: int) -> Iterator[Sentence]:
    if light.heartbeat_ms is not None:
        yield Sentence("heartbeat %(age)s ago", {"age": Age(now_ms - light.heartbeat_ms)})
    if light.stored_ms is not None:
        yield Sentence("data stored %(age)s ago", {"age": Age(now_ms - light.stored_ms)})
    if light.lag_ms is not None:
        yield Sentence("sync lag %(age)s", {"age": Age(light.lag_ms)})
    if light.waiting_bytes:
        yield Sentence("%(bytes)s waiting", {"bytes": Bytes(light.waiting_bytes)})
