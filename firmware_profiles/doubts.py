"""What a profile says that nobody has confirmed or can look up, for those who rely on it."""

from collections.abc import Iterator

from firmware_profiles.lint import Flaw
from firmware_profiles.model import Command, Event, Point, Profile

LINK = "link"
"""The name of a link among what is doubtful: people know no link by its type."""


def doubtful(profile: Profile) -> tuple[str, ...]:
    """Return the points, commands and events that nobody has wholly confirmed, each name once.

    ``LINK`` stands at the end where that goes for a link.
    """
    parts: list[Point | Command | Event] = [*profile.points, *profile.commands, *profile.events]
    names = [part.id for part in parts if part.unconfirmed]
    links = [LINK for link in profile.links if link.unconfirmed]
    return tuple(dict.fromkeys([*names, *links]))


def find_doubts(profile: Profile) -> Iterator[Flaw]:
    """Yield every mark ``unconfirmed``; none of them is a fault."""
    facts = {
        "points": [
            (point.unconfirmed, f"point {point.id} is confirmed by no document and no device")
            for point in profile.points
        ],
        "commands": [
            (command.unconfirmed, f"command {command.id} is confirmed by no document and no device")
            for command in profile.commands
        ],
        "events": [
            (
                event.unconfirmed,
                f"something of event {event.id} is confirmed by no document and no device",
            )
            for event in profile.events
        ],
        "links": [
            (
                link.unconfirmed,
                f"something of link {link.type} is confirmed by no document and no device",
            )
            for link in profile.links
        ],
        "probe": [
            (
                step.unconfirmed,
                (
                    f"the probe of register 0x{step.register:04X} is confirmed by no document and"
                    " no device"
                ),
            )
            for step in profile.probe
        ],
        "quirks": [
            (quirk.unconfirmed, f"quirk {quirk.id} is confirmed by no document and no device")
            for quirk in profile.quirks
        ],
    }
    for table, told in facts.items():
        for index, (is_marked, fact) in enumerate(told):
            if is_marked:
                yield Flaw((table, str(index)), fact, "check it by hand first")


def find_hints(profile: Profile) -> Iterator[Flaw]:
    """Yield every source that has no address; it is no fault, a document may be on paper only."""
    for index, source in enumerate(profile.sources):
        if not source.url:
            fact = f"source {source.title[:60]!r} has no url"
            yield Flaw(("sources", str(index)), fact, "add it if the source can be looked up")
