"""Which model a Modbus unit is: the profiles' read-only questions, each asked once a unit."""

from collections.abc import Sequence
from typing import Literal, Protocol

from drivers.codecs.modbus import ExceptionReply, ReadReply, ReadRequest, Reply, Request
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence, Need
from drivers.entities import NowMs
from drivers.errors import ProtocolError
from drivers.modbus_line import SilentUnitError
from firmware_profiles.model import LinkType, ProbeStep, Profile

ANSWER_S = 0.5
TRIES = 3

Question = tuple[Literal[1, 2, 3, 4], int, int]
"""Function, register, count."""


class Asking(Protocol):
    """A line, or a running bus between its polls."""

    async def ask(self, request: Request, timeout_s: float) -> Reply: ...


class UnitQuestions:
    """What one unit answered so far; a question that two models share is asked once."""

    def __init__(self, line: Asking, unit: int, link: LinkType, baud: int | None) -> None:
        """``baud`` is the line's speed, None where a serial server keeps it."""
        self._line = line
        self._unit = unit
        self._link: LinkType = link
        self._baud = baud
        self._answers: dict[Question, Reply | None] = {}

    @property
    def was_answered(self) -> bool:
        """Whether the unit said anything; a refusal proves it as well."""
        return any(reply is not None for reply in self._answers.values())

    async def fitting(self, models: Sequence[Profile]) -> list[tuple[float, Profile]]:
        """Return the models that fit, each with its confidence, the surest first."""
        fits: list[tuple[float, Profile]] = []
        for profile in models:
            doubt = 1.0
            for step in profile.probe:
                if not self._fits(profile, step, await self._answer(step)):
                    break
                doubt *= 1 - step.confidence
            else:
                if profile.probe:
                    fits.append((1 - doubt, profile))
        return sorted(fits, key=lambda fit: -fit[0])

    async def answering(self, models: Sequence[Profile]) -> list[Profile]:
        """Return the models that have no probe and might be it: it answers their first point."""
        return [
            profile
            for profile in models
            if not profile.probe
            and (step := _first_read(profile)) is not None
            and isinstance(await self._answer(step), ReadReply)
        ]

    def candidate(
        self,
        fits: Sequence[tuple[float, Profile]],
        now_ms: NowMs,
        *,
        identity: str,
        address: str,
        perhaps: Sequence[Profile] = (),
    ) -> Candidate:
        """Return what a person is shown; without a fitting profile it asks for one.

        ``perhaps`` are models that might be it where none fits.
        """
        now = now_ms()
        evidence = [
            Evidence(method="modbus read", detail=_describe(question, reply), observed_ms=now)
            for question, reply in self._answers.items()
        ]
        if len(fits) > 1:
            others = ", ".join(f"{p.id} ({confidence:.0%})" for confidence, p in fits[1:])
            detail = f"these profiles fit as well: {others}; look at the device"
            evidence.append(Evidence(method="profile", detail=detail, observed_ms=now))
        confidence, profile = fits[0] if fits else (0.3, None)
        models = [model for _, model in fits] or list(perhaps)
        needs = Need.NOTHING if profile else (Need.CHOICE if models else Need.PROFILE)
        return Candidate(
            identity=identity,
            kind=DeviceKind(models[0].kind) if models else DeviceKind.FARM_SENSOR,
            address=address,
            name=f"{profile.name if profile else 'Modbus device'}, unit {self._unit}",
            profile=profile.id if profile else None,
            evidence=tuple(evidence),
            confidence=round(confidence, 2),
            needs=needs,
            choices=tuple(model.id for model in models) if len(models) > 1 or not profile else (),
        )

    async def _answer(self, step: ProbeStep) -> Reply | None:
        question = (step.function, step.register, step.count)
        if question not in self._answers:
            self._answers[question] = await self._ask(step)
        return self._answers[question]

    async def _ask(self, step: ProbeStep) -> Reply | None:
        request = ReadRequest(
            unit=self._unit, function=step.function, address=step.register, count=step.count
        )
        for _ in range(TRIES):
            try:
                return await self._line.ask(request, ANSWER_S)
            except (SilentUnitError, ProtocolError):
                continue
        return None

    def _fits(self, profile: Profile, step: ProbeStep, reply: Reply | None) -> bool:
        if step.absent:
            silent = reply is None and "silent_when_unknown" in profile.quirk_ids
            return silent or isinstance(reply, ExceptionReply)
        if not isinstance(reply, ReadReply):
            return False
        codes = profile.link(self._link).baud_codes
        for expected, value in zip(step.expect, reply.values, strict=False):
            if expected.unit and value != self._unit:
                return False
            if expected.baud and self._baud is not None and value != codes.get(self._baud):
                return False
            if not expected.low <= value <= expected.high:
                return False
        return True


def _first_read(profile: Profile) -> ProbeStep | None:
    for point in profile.points:
        if point.function is not None and point.register is not None:
            return ProbeStep(function=point.function, register=point.register, confidence=0.1)
    return None


def _describe(question: Question, reply: Reply | None) -> str:
    function, register, count = question
    asked = f"fc{function} 0x{register:04X} x{count}"
    match reply:
        case ReadReply(values=values):
            return f"{asked} = {' '.join(f'0x{value:04X}' for value in values)}"
        case ExceptionReply():
            return f"{asked} was refused: {reply.meaning}"
        case _:
            return f"{asked} was not answered"
