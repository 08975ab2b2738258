"""What a profile says that nobody has confirmed, for those who check it or rely on it."""

from collections.abc import Iterator

from firmware_profiles.lint import Flaw
from firmware_profiles.model import Profile


def doubtful(profile: Profile) -> tuple[str, ...]:
    """Return the points and commands of a profile that nobody has confirmed, each name once."""
    points = [point.id for point in profile.points if point.unconfirmed]
    commands = [command.id for command in profile.commands if command.unconfirmed]
    return tuple(dict.fromkeys([*points, *commands]))


def find_doubts(profile: Profile) -> Iterator[Flaw]:
    """Yield every mark ``unconfirmed``; none of them is a fault."""
    remedy = "check it by hand first"
    for index, point in enumerate(profile.points):
        if point.unconfirmed:
            fact = f"point {point.id} is confirmed by no document and no device"
            yield Flaw(("points", str(index)), fact, remedy)
    for index, command in enumerate(profile.commands):
        if command.unconfirmed:
            fact = f"command {command.id} is confirmed by no document and no device"
            yield Flaw(("commands", str(index)), fact, remedy)
    for index, step in enumerate(profile.probe):
        if step.unconfirmed:
            place = f"0x{step.register:04X}"
            fact = f"the probe of register {place} is confirmed by no document and no device"
            yield Flaw(("probe", str(index)), fact, remedy)
    for index, quirk in enumerate(profile.quirks):
        if quirk.unconfirmed:
            fact = f"quirk {quirk.id} is confirmed by no document and no device"
            yield Flaw(("quirks", str(index)), fact, remedy)
