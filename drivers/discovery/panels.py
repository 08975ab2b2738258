"""Finding panels and projectors that speak in frames: one read-only question for each way.

Which of two models that share a way it is shows in how many of their questions it understands.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from drivers.codecs.display_framing import Framing
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence, Need
from drivers.displays.framed_link import FRAMINGS
from drivers.displays.profile_words import read_point
from drivers.entities import NowMs
from drivers.errors import ProtocolError, RefusedError
from drivers.transports.byte_port import BytePort
from firmware_profiles.model import Link, LinkType, Point, Profile

ANSWER_S = 0.5
ANSWER_S_MAX = 2.0
"""A display that is known to be there may take its time for further questions."""
TRIES = 2
"""A question is asked again only where something that is no answer came back."""
QUESTIONS_MAX = 24
SURE = 0.9
SHARED = 0.5

Hear = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPanel:
    """A display that answered; ``others`` fit as well as the profile does."""

    profile: Profile
    link: Link
    others: tuple[Profile, ...]
    told: str

    def candidate(self, now_ms: NowMs, *, identity: str, address: str) -> Candidate:
        evidence = [Evidence(method="panel answer", detail=self.told, observed_ms=now_ms())]
        if self.others:
            names = ", ".join(each.id for each in self.others)
            detail = f"these profiles fit as well: {names}; look at the device"
            evidence.append(Evidence(method="profile", detail=detail, observed_ms=now_ms()))
        return Candidate(
            identity=identity,
            kind=DeviceKind.BLACKBOARD,
            address=address,
            name=self.profile.name,
            profile=self.profile.id,
            evidence=tuple(evidence),
            confidence=SHARED if self.others else SURE,
            needs=Need.NOTHING,
            choices=(self.profile.id, *(each.id for each in self.others)) if self.others else (),
        )


def framed(profiles: Collection[Profile]) -> list[Profile]:
    """Return the displays that are spoken to in frames."""
    return [profile for profile in profiles if profile.links and profile.links[0].type in FRAMINGS]


def by_way(profiles: Collection[Profile]) -> dict[tuple[LinkType, int], list[Profile]]:
    """Return the models that share a way to speak and an id, in the profiles' order."""
    ways: dict[tuple[LinkType, int], list[Profile]] = {}
    for profile in framed(profiles):
        link = profile.links[0]
        ways.setdefault((link.type, 1 if link.unit is None else link.unit), []).append(profile)
    return ways


async def ask_panel(
    port: BytePort, way: tuple[LinkType, int], models: Sequence[Profile], hear: Hear
) -> FoundPanel | None:
    """Return the display that answers on an open port this way, None when none does.

    Only questions are sent. ``hear`` is shown all bytes that came: they may be somebody else's.
    Raises UnreachableError when the port is gone.
    """
    link_type, unit = way
    talk = _Talk(port, FRAMINGS[link_type](unit), hear)
    first = _points(models[0])[0]
    if await talk.ask(first.request, ANSWER_S) is None:
        return None
    answers = talk.answers
    for point in [point for model in models for point in _points(model)][:QUESTIONS_MAX]:
        if len(models) > 1 and point.request not in answers:
            await talk.ask(point.request, ANSWER_S_MAX)
    shares = {model.id: _share(model, answers) for model in models}
    best, _ = max(shares.values())
    fits = [model for model in models if shares[model.id][0] == best]
    fits.sort(key=lambda model: -shares[model.id][1])
    told = ", ".join(f"{asked} = {answer or 'nothing'}" for asked, answer in answers.items())
    return FoundPanel(
        profile=fits[0],
        link=fits[0].links[0],
        others=tuple(fits[1:]),
        told=f"{link_type}: {told}"[:500],
    )


class _Talk:
    """Questions of one framing on a port; ``answers`` keeps what came, None for nothing."""

    def __init__(self, port: BytePort, framing: Framing, hear: Hear) -> None:
        self.answers: dict[str, str | None] = {}
        self._port = port
        self._framing = framing
        self._hear = hear

    async def ask(self, question: str, within_s: float) -> str | None:
        for _ in range(TRIES):
            self._framing.clear()
            self._hear(await self._port.read(0))
            await self._port.write(self._framing.encode_question(question))
            answer, unclear = await self._listen(question, within_s)
            self.answers[question] = answer
            if answer is not None or not unclear:
                return answer
        return None

    async def _listen(self, question: str, within_s: float) -> tuple[str | None, bool]:
        """Return the answer, and whether something else came instead."""
        loop = asyncio.get_running_loop()
        deadline, unclear = loop.time() + within_s, False
        while (remaining_s := deadline - loop.time()) > 0:
            data = await self._port.read(remaining_s)
            answers = self._framing.receive_answers(data)
            for text in answers:
                if self._framing.fits(question, text):
                    return text, unclear
            self._hear(data)
            unclear = unclear or bool(data)
        return None, unclear


def _points(model: Profile) -> list[Point]:
    """Return the points that are asked for, power first: every display knows it, even off."""
    asked = [point for point in model.points if point.request]
    return sorted(asked, key=lambda point: point.capability != "power")


def _share(model: Profile, answers: dict[str, str | None]) -> tuple[float, int]:
    """Return how much of what a model knows was answered as it would: part, and number."""
    points = [point for point in _points(model) if point.request in answers]
    read = sum(_reads(point, answers[point.request]) for point in points)
    return read / max(1, len(points)), read


def _reads(point: Point, answer: str | None) -> bool:
    if answer is None:
        return False
    try:
        read_point(point, answer)
    except (ProtocolError, RefusedError):
        return False
    return True
