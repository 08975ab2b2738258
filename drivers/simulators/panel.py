"""A panel made of its profile: it holds what it is told and answers in its own frames."""

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from drivers.codecs.display_framing import Framing
from drivers.codecs.templates import fill, put_value, read_request
from drivers.displays.display_orders import ONLY_WHEN_ON
from drivers.displays.exchange_proof import quoted_texts
from drivers.displays.framed_link import FRAMINGS
from drivers.displays.profile_words import expected_value
from drivers.errors import ProtocolError
from drivers.simulators.ledger import Ledger
from drivers.simulators.pty_link import PtyLink, closing_line
from firmware_profiles.model import Command, Point, Profile, ProfileId

LINKS_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelFaults:
    """How often, 0 to 1, an answer is lost, spoilt, preceded by noise, or a plain no."""

    lost: float = 0.0
    spoilt: float = 0.0
    noise: float = 0.0
    refused: float = 0.0


class SimulatedPanel:
    """One panel at ``host:port`` or on a serial line; ``run`` is plugging it in.

    In standby and while it warms up it refuses what only a picture has, as real ones do. A loss of
    power forgets its input, volume and lock. The ledger gets one line a question, with the answer,
    and ``told`` with point and word when it obeyed.
    """

    def __init__(
        self,
        profile: Profile,
        ledger: Ledger,
        rng: random.Random,
        *,
        unit: int = 1,
        warm_up_s: float = 0.2,
        faults: PanelFaults | None = None,
        hangs_up: bool = False,
    ) -> None:
        self._profile = profile
        self._ledger = ledger
        self._rng = rng
        self._unit = unit
        self._warm_up_s = warm_up_s
        self.faults = faults or PanelFaults()
        self._hangs_up = hangs_up
        self._answers: dict[str, str] = {}
        self._acks: dict[str, str] = {}
        self._quote()
        self._writers: set[asyncio.StreamWriter] = set()
        self._state: dict[str, str] = {}
        self._warm_s = 0.0
        self._lose_power()

    @property
    def model(self) -> ProfileId:
        return ProfileId(self._profile.id)

    @property
    def state(self) -> dict[str, str]:
        """What the panel is, by point, in our words."""
        return dict(self._state)

    async def serve_tcp(self, host: str, port: int) -> Never:
        """Serve until cancelled; OSError when the address is not free."""
        self._lose_power()
        async with await asyncio.start_server(self._converse, host, port):
            self._ledger.write("plugged_in")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._ledger.write("unplugged")
                for writer in self._writers:
                    writer.transport.abort()
        raise AssertionError("a panel never ends")

    async def serve_line(self, path: Path) -> Never:
        """Serve on a pseudo-terminal until cancelled, at the speed it left the factory with."""
        baud = self._profile.links[0].baud[0]
        self._lose_power()
        link = PtyLink(path)
        framing = self.framing()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(closing_line(link))
            self._ledger.write("plugged_in")
            stack.callback(self._ledger.write, "unplugged")
            while True:
                data = await link.read()
                if link.baud != baud:
                    framing.clear()  # at another speed all is noise
                    continue
                for answer in self.hear(framing, data):
                    link.write(answer)
        raise AssertionError("a panel never ends")

    def hold(self, point: str, word: str) -> None:
        """Be so from the beginning."""
        self._state[point] = word

    def press_remote(self, point: str, word: str) -> None:
        """Do what a person with the remote control does; a locked panel does not obey."""
        if self._state.get("lock") != "on":
            self._set(point, word)
        self._ledger.write("remote", point=point, word=word)

    def _lose_power(self) -> None:
        self._warm_s = 0.0
        for point in self._profile.points:
            words = tuple(point.enum.values())
            self._state[point.id] = "off" if "off" in words else (words or ("0",))[0]

    def _set(self, point: str, word: str) -> None:
        if point == "power" and word == "on" and self._state["power"] != "on":
            self._warm_s = asyncio.get_running_loop().time() + self._warm_up_s
        self._state[point] = word

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= LINKS_MAX:
            writer.close()
            return
        self._writers.add(writer)
        framing = self.framing()
        try:
            while data := await reader.read(256):
                for answer in self.hear(framing, data):
                    writer.write(answer)
                    if self._hangs_up:
                        return
        except OSError as error:
            self._ledger.write("hung_up", reason=str(error))
        finally:
            self._writers.discard(writer)
            writer.close()

    def hear(self, framing: Framing, data: bytes) -> list[bytes]:
        """Return what the panel says to bytes that came; one framing a connection."""
        said = []
        for question in framing.receive_questions(data):
            answer, chance = self._answer(framing, question), self._rng.random
            frame = framing.encode_answer(answer)
            fault = None
            if chance() < self.faults.lost:
                fault, frame = "lost", b""
            elif chance() < self.faults.spoilt:
                at = self._rng.randrange(len(frame))
                fault, frame = "spoilt", frame[:at] + bytes([frame[at] ^ 0x15]) + frame[at + 1 :]
            elif chance() < self.faults.noise:
                fault, frame = "noise", self._rng.randbytes(self._rng.randrange(1, 20)) + frame
            self._ledger.write("question", question=question, answer=answer, fault=fault)
            said.append(frame)
        return said

    def _answer(self, framing: Framing, question: str) -> str:
        for point in self._profile.points:
            if point.request.upper() == question.upper():
                if self._refuses(point.capability):
                    return framing.refusal(question)
                return self._shown(question)
        for command in self._profile.commands:
            for word, wire in self._told(command, question):
                if self._refuses(command.capability):
                    return framing.refusal(question)
                if command.verify is not None:
                    point = self._profile.point(command.verify.point)
                    shown = expected_value(command, word, point)
                    self._set(point.id, shown)
                    self._ledger.write("told", point=point.id, word=shown)
                return self._accepting(command, wire)
        return framing.refusal(question)

    def _accepting(self, command: Command, wire: str) -> str:
        quoted = self._acks.get(command.id)
        if quoted is not None:
            return put_value(command.ack, quoted, wire)
        return fill(command.ack.removesuffix("*").replace("?", "0"), wire)

    def _told(self, command: Command, question: str) -> list[tuple[str, str]]:
        """Return our word and the wire value by which a question tells this command, if it does."""
        wire = read_request(command.request, question)
        if wire is None:
            return []
        if command.range is not None:
            fits = command.range.low <= int(wire) <= command.range.high
            return [(wire, wire)] if fits else []
        return [
            (word, told) for word, told in command.values.items() if told.upper() == wire.upper()
        ]

    def _refuses(self, capability: str) -> bool:
        if self._rng.random() < self.faults.refused:
            return True
        if capability not in ONLY_WHEN_ON:
            return False
        warming = asyncio.get_running_loop().time() < self._warm_s
        return self._state.get("power") != "on" or warming

    def _shown(self, question: str) -> str:
        """Return the quoted answer to a question with every value that it carries put in."""
        points = [p for p in self._profile.points if p.request.upper() == question.upper()]
        answer = self._answers[question.upper()]
        for point in points:
            answer = put_value(point.reply, answer, self._wire(point))
        return answer

    def _wire(self, point: Point) -> str:
        word = self._state[point.id]
        return next((wire for wire, shown in point.enum.items() if shown == word), word)

    def _quote(self) -> None:
        """Take from the vectors what answers look like."""
        for vector in self._profile.vectors:
            question, answer = quoted_texts(self._profile, vector)
            if vector.command is not None:
                self._acks[vector.command] = answer
            if vector.values:
                self._answers.setdefault(question.upper(), answer)
        for point in self._profile.points:
            if point.request.upper() not in self._answers:
                raise ProtocolError(f"{self._profile.id}: no vector quotes an answer to {point.id}")

    def framing(self) -> Framing:
        """Return a new connection's framing."""
        return FRAMINGS[self._profile.links[0].type](self._unit)
