"""Proves a display profile's vectors: quoted bytes by the framing, words by the rules."""

from collections.abc import Iterator

from drivers.displays.framed_link import FRAMINGS
from drivers.displays.profile_words import is_accepted, question_of, read_point
from drivers.errors import ProtocolError
from firmware_profiles.model import Profile, Vector


def quoted_texts(profile: Profile, vector: Vector) -> tuple[str, str]:
    """Return question and answer of a vector as profiles write them; ProtocolError if no frames."""
    link = profile.links[0]
    framing = FRAMINGS.get(link.type)
    if framing is None:
        return vector.request, vector.reply
    unit = 1 if link.unit is None else link.unit
    asked = framing(unit).receive_questions(bytes.fromhex(vector.request))
    answered = framing(unit).receive_answers(bytes.fromhex(vector.reply))
    if len(asked) != 1 or len(answered) != 1:
        raise ProtocolError("request and reply are not one sound frame each")
    return asked[0], answered[0]


def prove_display(profile: Profile, vector: Vector) -> Iterator[str]:
    """Yield what a vector's bytes say otherwise than the vector claims."""
    try:
        question, answer = quoted_texts(profile, vector)
        if vector.command is not None:
            command = profile.command(vector.command)
            told = question_of(command, vector.argument)
            if told.upper() != question.upper():
                yield f"{vector.command} {vector.argument} is {told!r}, not {question!r}"
            if not is_accepted(command, answer):
                yield f"{answer!r} does not accept {vector.command}"
        for name, expected in vector.values.items():
            point = profile.point(name)
            if point.request.upper() != question.upper():
                yield f"{name} is asked by {point.request!r}, not {question!r}"
            elif (found := read_point(point, answer)) != expected:
                yield f"{name} is {found}, not {expected}"
    except ProtocolError as error:
        yield str(error)
