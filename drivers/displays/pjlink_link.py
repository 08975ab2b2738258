"""One TCP connection to a PJLink display: greeting, password, one question at a time."""

import asyncio
from dataclasses import dataclass, field
from typing import Self

from drivers.codecs import pjlink
from drivers.displays.display_link import Answer, Refusal
from drivers.errors import ProtocolError, RefusedError, UnreachableError

CONNECT_S = 3.0
ANSWER_S = 5.0
READ_BYTES = 1024
_WHICH_CLASS = pjlink.Command(pjlink_class=1, name="CLSS", parameter="?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayAccess:
    """Where a display is and what it asks for; ``password`` never shows in logs."""

    host: str
    port: int = pjlink.PORT
    password: str | None = field(default=None, repr=False)


class PjlinkLink:
    """An open, authenticated connection.

    After any error the link must be closed: a late reply must never answer the next question.
    """

    def __init__(
        self,
        access: DisplayAccess,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer_s: float,
    ) -> None:
        self._name = f"{access.host}:{access.port}"
        self._answer_s = answer_s
        self._reader = reader
        self._writer = writer
        self._lines = pjlink.Lines()
        self._waiting: list[str] = []
        self._prefix = ""
        self._class: pjlink.PjlinkClass | None = None
        """What CLSS told on this connection; None until something of class 2 is asked."""
        self.asks_for_password = False

    @classmethod
    async def open(
        cls,
        access: DisplayAccess,
        *,
        timeout_s: float = CONNECT_S,
        answer_s: float = ANSWER_S,
        local_host: str | None = None,
    ) -> Self:
        """Connect and read the greeting; with a password, the first question will carry it.

        ``timeout_s`` limits the connection, ``answer_s`` the wait for each answer.
        Raises UnreachableError, ProtocolError when it is no PJLink display.
        """
        name = f"{access.host}:{access.port}"
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(
                    access.host,
                    access.port,
                    limit=pjlink.LINE_BYTES_MAX,
                    local_addr=(local_host, 0) if local_host else None,
                )
        except (OSError, TimeoutError) as error:
            raise UnreachableError(
                f"display {name}: no connection ({error or 'silent'}); check its power and cable"
            ) from error
        link = cls(access, reader, writer, answer_s)
        try:
            greeting = pjlink.parse_greeting(await link._line(timeout_s))
        except BaseException:
            await link.close()
            raise
        if greeting.token is not None:
            link.asks_for_password = True
            if access.password is not None:
                link._prefix = pjlink.digest(greeting.token, access.password)
        return link

    @property
    def source(self) -> str:
        return f"pjlink {self._name}"

    async def ask(self, question: str) -> Answer:
        """Return the answer to one line, e.g. ``%1POWR ?``, as a driver needs it.

        A display of class 1 hears nothing of class 2: by §6 of its standard it may keep silent,
        which cannot be told from a display that is gone.
        """
        command = pjlink.parse_command(question)
        if command.pjlink_class > 1 and self._class is None:
            told = await self.exchange(_WHICH_CLASS)
            if told.error in {pjlink.ErrorReply.UNAVAILABLE, pjlink.ErrorReply.FAILURE}:
                return _answer(told, question)  # it may tell later, as when it has warmed up
            self._class = 1 if told.error else pjlink.parse_class(told.parameter)
        if self._class is not None and command.pjlink_class > self._class:
            reason = "it speaks PJLink class 1 only"
            return Answer(text="", refusal=Refusal.UNSPOKEN, reason=reason)
        return _answer(await self.exchange(command), question)

    async def exchange(self, command: pjlink.Command) -> pjlink.Reply:
        """Return the reply to one command, error replies included.

        Raises RefusedError when the password is missing or wrong, UnreachableError when nothing
        comes in time, ProtocolError when something else comes.
        """
        if self.asks_for_password and not self._prefix:
            raise RefusedError(f"display {self._name}: asks for a password; enter its PJLink one")
        self._writer.write(pjlink.encode(self._prefix + pjlink.build_command(command)))
        line = await self._line(self._answer_s)
        if line.upper() == pjlink.AUTHENTICATION_FAILED:
            raise RefusedError(f"display {self._name}: the password is wrong; enter its PJLink one")
        # The digest precedes the first command only (§5).
        self.asks_for_password = False
        self._prefix = ""
        reply = pjlink.parse_reply(line)
        if reply.name != command.name:
            raise ProtocolError(
                f"display {self._name}: answers {reply.name} to {command.name}; reconnecting"
            )
        return reply

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return  # reset by the display: closed all the same

    async def _line(self, timeout_s: float) -> str:
        try:
            async with asyncio.timeout(timeout_s):
                while not self._waiting:
                    data = await self._reader.read(READ_BYTES)
                    if not data:
                        raise UnreachableError(f"display {self._name}: hung up")
                    self._waiting = self._lines.receive(data)
        except (OSError, TimeoutError) as error:
            raise UnreachableError(
                f"display {self._name}: no answer for {timeout_s:g} s; check its power and cable"
            ) from error
        return self._waiting.pop(0)


def _answer(reply: pjlink.Reply, question: str) -> Answer:
    """Return a reply as a driver needs it."""
    text = pjlink.build_reply(reply)
    match reply.error:
        case None:
            pass
        case pjlink.ErrorReply.UNDEFINED | pjlink.ErrorReply.OUT_OF_PARAMETER as error:
            return Answer(text=text, refusal=Refusal.LACKING, reason=error)
        case pjlink.ErrorReply.UNAVAILABLE as error:
            return Answer(text=text, refusal=Refusal.BUSY, reason=error)
        case pjlink.ErrorReply.FAILURE as error:
            return Answer(text=text, refusal=Refusal.FAULTY, reason=error)
    if question.endswith("?"):
        try:
            pjlink.check_value(reply)
        except ProtocolError as error:
            return Answer(text=text, refusal=Refusal.FAULTY, reason=str(error))
    return Answer(text=text)
