"""What a PJLink reply means for a point of a profile."""

from drivers.codecs import pjlink
from drivers.errors import ProtocolError
from firmware_profiles.model import Point


def read_value(point: Point, parameter: str) -> float | str:
    """Return the point's value: a word of its enum, lamp hours as a number, or checked text.

    Raises ProtocolError when the display answers what the standard does not allow.
    """
    if point.enum:
        if parameter not in point.enum:
            known = ", ".join(point.enum)
            raise ProtocolError(f"{point.id}: the display answers {parameter[:20]!r}, not {known}")
        return point.enum[parameter]
    match question(point).name:
        case "LAMP":
            return float(pjlink.parse_lamps(parameter)[0].hours)
        case "ERST":
            pjlink.parse_errors(parameter)
        case "INPT":
            pjlink.parse_sources(parameter)
    return parameter


def question(point: Point) -> pjlink.Command:
    """Return the command that asks for a point; ProtocolError when the profile has none."""
    return pjlink.parse_command(point.request)
