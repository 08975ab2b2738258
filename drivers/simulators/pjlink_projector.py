"""A PJLink projector on real TCP and UDP sockets, with lamp times and a remote control."""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from enum import Enum, auto
from ipaddress import IPv4Interface
from types import MappingProxyType
from typing import Never

from drivers.codecs import pjlink
from drivers.errors import ProtocolError
from drivers.simulators.ledger import Ledger
from drivers.transports.udp import UdpLink, broadcast_socket, open_udp, sending_socket

SOURCES: Mapping[str, str] = MappingProxyType(
    {"11": "Computer", "31": "HDMI 1", "32": "HDMI 2", "51": "Network"}
)
IDLE_S = 30.0  # §2.3: a display may hang up then
LINKS_MAX = 8
_MUTES = frozenset({"10", "11", "20", "21", "30", "31"})
_CLASS_2_ONLY = frozenset({"INNM", "SNUM", "SVER", "FREZ"})


class Dialect(Enum):
    """Which class a projector speaks, and what it does with a command of a class it lacks.

    In class 1 a line that does not begin with ``%1`` has no valid format, and such a line gets no
    answer (version 1.04, §6). Others take it for a command that they do not know.
    """

    CLASS_2 = auto()
    CLASS_1_SILENT = auto()
    CLASS_1_ERR1 = auto()


class PjlinkProjector:
    """One projector; ``run`` is plugging it in, cancelling ``run`` is pulling the plug.

    It starts in standby on its first source, as after a loss of power. It answers searches only
    from ``interface.network``: the border of the LAN it stands in; of class 1 it knows no search.
    The ledger gets one line a greeting, command, refused password and answered search.
    ``garbage`` is the chance, 0 to 1, that random bytes come where an answer belongs.
    """

    def __init__(
        self,
        interface: IPv4Interface,
        ledger: Ledger,
        rng: random.Random,
        *,
        name: str = "Classroom projector",
        password: str | None = None,
        sources: Mapping[str, str] = SOURCES,
        lamp_times_s: tuple[float, float] = (1.0, 1.0),
        dialect: Dialect = Dialect.CLASS_2,
    ) -> None:
        self.host = str(interface.ip)
        self.name = name
        self.mac = ":".join(f"{octet:02x}" for octet in (0x02, *rng.randbytes(5)))
        self.serial = f"SN{rng.randrange(10**8):08d}"
        self.garbage = 0.0
        self._interface = interface
        self._ledger = ledger
        self._rng = rng
        self._password = password
        self._sources = sources
        self._warm_up_s, self._cool_down_s = lamp_times_s
        self._dialect = dialect
        self._writers: set[asyncio.StreamWriter] = set()
        self._lose_power()

    async def run(self) -> Never:
        """Serve until cancelled; SetupError or OSError when address or port is not free."""
        self._lose_power()
        async with AsyncExitStack() as open_things:
            # Broadcasts reach a socket bound to every address; answers leave from ours.
            everyone = await open_things.enter_async_context(
                open_udp(broadcast_socket(pjlink.PORT))
            )
            ours = await open_things.enter_async_context(
                open_udp(sending_socket(self._interface.ip, pjlink.PORT))
            )
            server = await asyncio.start_server(
                self._serve, self.host, pjlink.PORT, limit=pjlink.LINE_BYTES_MAX
            )
            self._ledger.write("plugged_in", mac=self.mac)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._answer_searches(everyone, ours))
                    tasks.create_task(self._answer_searches(ours, ours))
            finally:
                self._ledger.write("unplugged", mac=self.mac)
                server.close()
                for writer in self._writers:
                    writer.transport.abort()
        raise AssertionError("the search tasks never return")

    @property
    def power(self) -> pjlink.Power:
        if asyncio.get_running_loop().time() < self._moving_until:
            return pjlink.Power.WARMING if self._on else pjlink.Power.COOLING
        return pjlink.Power.ON if self._on else pjlink.Power.OFF

    @property
    def source(self) -> str:
        return self._source

    @property
    def shows_nothing(self) -> bool:
        """Tell whether the picture is muted."""
        return self._mutes["1"]

    @property
    def is_silent(self) -> bool:
        return self._mutes["2"]

    @property
    def is_frozen(self) -> bool:
        return self._frozen

    def press_remote(self, *, on: bool | None = None, source: str | None = None) -> None:
        """Do what a person with the remote control does."""
        if on is not None:
            self._switch(on=on)
        if source is not None:
            self._source = source
        self._ledger.write("remote", on=on, source=source)

    def fail(self, errors: str) -> None:
        """Show six digits as the answer to ERST."""
        self._errors = errors

    def _lose_power(self) -> None:
        self._on = False
        self._moving_until = 0.0
        self._source = next(iter(self._sources))
        self._mutes = {"1": False, "2": False}
        self._frozen = False
        self._errors = "000000"

    def _switch(self, *, on: bool) -> None:
        if on is not self._on:
            self._on = on
            duration_s = self._warm_up_s if on else self._cool_down_s
            self._moving_until = asyncio.get_running_loop().time() + duration_s

    async def _answer_searches(self, heard: UdpLink, ours: UdpLink) -> Never:
        while True:
            search = await heard.receive()
            line = search.data.removesuffix(b"\r").decode("ascii", errors="replace")
            if self._dialect is not Dialect.CLASS_2:
                continue
            if pjlink.is_search(line) and search.source in self._interface.network:
                answer = pjlink.encode(pjlink.build_acknowledgement(self.mac))
                ours.send(answer, str(search.source), search.port)
                self._ledger.write("search_answered", to=str(search.source), mac=self.mac)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= LINKS_MAX:
            writer.close()
            return
        self._writers.add(writer)
        try:
            async with asyncio.timeout(None) as idle:
                await self._converse(reader, writer, idle)
        except (TimeoutError, OSError, ProtocolError) as error:
            self._ledger.write("hung_up", reason=type(error).__name__)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: asyncio.Timeout
    ) -> None:
        token = f"{self._rng.getrandbits(32):08x}" if self._password is not None else None
        writer.write(pjlink.encode(pjlink.build_greeting(pjlink.Greeting(token=token))))
        self._ledger.write("greeting", password=token is not None)
        lines = pjlink.Lines()
        while True:
            idle.reschedule(asyncio.get_running_loop().time() + IDLE_S)
            if not (data := await reader.read(1024)):
                return
            for line in lines.receive(data):
                shown, text = pjlink.split_digest(line)
                if token is not None:
                    if shown != pjlink.digest(token, self._password or ""):
                        self._ledger.write("password_refused")
                        writer.write(pjlink.encode(pjlink.AUTHENTICATION_FAILED))
                        await writer.drain()
                        return
                    token = None
                command = pjlink.parse_command(text)
                answer = self.answer(command)
                self._ledger.write(
                    "command",
                    pjlink_class=command.pjlink_class,
                    name=command.name,
                    parameter=command.parameter,
                    reply=answer,
                )
                if answer is None:
                    continue
                reply = pjlink.Reply(
                    pjlink_class=command.pjlink_class, name=command.name, parameter=answer
                )
                said = pjlink.encode(pjlink.build_reply(reply))
                if self._rng.random() < self.garbage:
                    said = self._rng.randbytes(len(said))
                writer.write(said)

    def answer(self, command: pjlink.Command) -> str | None:
        """Return the parameter by which the projector answers, None when it keeps silent."""
        if self._dialect is not Dialect.CLASS_2:
            if command.pjlink_class > 1 and self._dialect is Dialect.CLASS_1_SILENT:
                return None
            if command.pjlink_class > 1 or command.name in _CLASS_2_ONLY:
                return pjlink.ErrorReply.UNDEFINED
        table = self._questions() if command.parameter.startswith("?") else self._orders()
        answer = table.get(command.name)
        if answer is None:
            return pjlink.ErrorReply.UNDEFINED
        return answer(command.parameter)

    def _questions(self) -> dict[str, Callable[[str], str]]:
        mute = {(True, False): "11", (False, True): "21", (True, True): "31"}
        return {
            "POWR": lambda _: self.power,
            "INPT": lambda _: self._when_on(self._source),
            "AVMT": lambda _: self._when_on(mute.get((self._mutes["1"], self._mutes["2"]), "30")),
            "ERST": lambda _: self._errors,
            "LAMP": lambda _: f"1234 {int(self._on)}",
            "INST": lambda _: " ".join(self._sources),
            "INNM": lambda asked: self._sources.get(
                asked.removeprefix("?"), pjlink.ErrorReply.OUT_OF_PARAMETER
            ),
            "NAME": lambda _: self.name,
            "INF1": lambda _: "SchoolNode",
            "INF2": lambda _: "Simulated projector",
            "INFO": lambda _: "simulated",
            "CLSS": lambda _: "2" if self._dialect is Dialect.CLASS_2 else "1",
            "SNUM": lambda _: self.serial,
            "SVER": lambda _: "1.0",
            "FREZ": lambda _: self._when_on(str(int(self._frozen))),
        }

    def _orders(self) -> dict[str, Callable[[str], str]]:
        return {
            "POWR": self._set_power,
            "INPT": self._set_source,
            "AVMT": self._set_mute,
            "FREZ": self._set_freeze,
        }

    def _when_on(self, answer: str) -> str:
        return answer if self.power is pjlink.Power.ON else pjlink.ErrorReply.UNAVAILABLE

    def _set_power(self, parameter: str) -> str:
        if parameter not in {"0", "1"}:
            return pjlink.ErrorReply.OUT_OF_PARAMETER
        if self.power in {pjlink.Power.WARMING, pjlink.Power.COOLING}:
            return pjlink.ErrorReply.UNAVAILABLE
        self._switch(on=parameter == "1")
        return "OK"

    def _set_source(self, parameter: str) -> str:
        if parameter not in self._sources:
            return pjlink.ErrorReply.OUT_OF_PARAMETER
        if self.power is not pjlink.Power.ON:
            return pjlink.ErrorReply.UNAVAILABLE
        self._source = parameter
        return "OK"

    def _set_mute(self, parameter: str) -> str:
        if parameter not in _MUTES:
            return pjlink.ErrorReply.OUT_OF_PARAMETER
        if self.power is not pjlink.Power.ON:
            return pjlink.ErrorReply.UNAVAILABLE
        for track in self._mutes if parameter[0] == "3" else parameter[0]:
            self._mutes[track] = parameter[1] == "1"
        return "OK"

    def _set_freeze(self, parameter: str) -> str:
        if parameter not in {"0", "1"}:
            return pjlink.ErrorReply.OUT_OF_PARAMETER
        if self.power is not pjlink.Power.ON:
            return pjlink.ErrorReply.UNAVAILABLE
        self._frozen = parameter == "1"
        return "OK"
