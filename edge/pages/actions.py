"""What a person with the setup code can do; forms and the JSON interface both come through here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Network
from typing import Annotated, TypeVar

import msgspec

from drivers.discovery.candidate import DeviceKind
from drivers.entities import CommandResult, DeviceId
from drivers.errors import DriverError, ProtocolError, RefusedError, SetupError, UnreachableError
from edge.pages.box_view import BoxView, CommandChoice
from edge.repair_desk import DAYS_MAX

T = TypeVar("T")

ADOPT_S_MAX = 60
COMMAND_S_MAX = 180  # a projector may take 90 s to warm up, and is read back afterwards
DISCOVER_S_MAX = 10
SCAN_CHARS_MAX = 200

PRINTABLE = r"\A[^\x00-\x1f\x7f]+\Z"  # "$" would let a line end by
Identity = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=PRINTABLE)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=PRINTABLE)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=PRINTABLE)]
RepairKey = Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=PRINTABLE)]
Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Adopt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: Identity
    name: Name
    room: Word | None = None
    password: Secret | None = None
    profile: Word | None = None


class Dismiss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: Identity


class Shelve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Puts a repair aside for ``days``; without them until it comes again."""

    key: RepairKey
    days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX)] | None = None


class Unshelve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: RepairKey


class Discover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``scan``: subnets to try address by address, e.g. ``10.1.2.0/24``, joined by spaces."""

    kinds: Annotated[tuple[DeviceKind, ...], msgspec.Meta(max_length=16)] = ()
    scan: Annotated[str, msgspec.Meta(max_length=SCAN_CHARS_MAX)] = ""

    def networks(self) -> tuple[IPv4Network, ...]:
        """Raise SetupError when one is no subnet."""
        return tuple(_network(text) for text in self.scan.replace(",", " ").split())


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device: Identity
    command: Word
    argument: Word | None = None


class ActionError(Exception):
    """An action came to nothing. ``status`` is HTTP's; the message says fact and remedy."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class Actions:
    """Checks each action against what the box knows, then does it within a time."""

    def __init__(self, view: BoxView) -> None:
        self._view = view

    async def discover(self, wish: Discover) -> None:
        async def start() -> None:
            try:
                await self._view.discover(wish.kinds or None, wish.networks())
            except SetupError as error:  # of the subnets
                raise ActionError(400, "invalid", str(error)) from error

        await bounded(start(), DISCOVER_S_MAX)

    async def stop_discovery(self) -> None:
        await bounded(self._view.stop_discovery(), DISCOVER_S_MAX)

    async def adopt(self, wish: Adopt, who: str) -> DeviceId:
        self._check_candidate(wish.identity)
        return await bounded(self._view.adopt(wish, who=who), ADOPT_S_MAX)

    async def dismiss(self, wish: Dismiss, who: str) -> None:
        self._check_candidate(wish.identity)
        await bounded(self._view.dismiss(wish.identity, who=who), ADOPT_S_MAX)

    async def command(self, wish: Command, who: str) -> CommandResult:
        lights = {light.device: light for light in self._view.device_lights()}
        light = lights.get(DeviceId(wish.device))
        if light is None:
            raise ActionError(404, "unknown", f"{wish.device} is not adopted here")
        offered = {choice.command: choice for choice in light.commands}
        choice = offered.get(wish.command)
        if choice is None:
            raise ActionError(409, "unknown", f"{light.name} has no command {wish.command}")
        if not choice.takes(wish.argument):
            raise ActionError(409, "invalid", _told_wrong(choice, wish.argument))
        return await bounded(
            self._view.command(light.device, wish.command, wish.argument, who=who), COMMAND_S_MAX
        )

    async def shelve(self, wish: Shelve, who: str) -> None:
        await bounded(self._view.repairs.shelve(wish.key, wish.days, who), ADOPT_S_MAX)

    async def unshelve(self, wish: Unshelve, who: str) -> None:
        await bounded(self._view.repairs.unshelve(wish.key, who), ADOPT_S_MAX)

    def _check_candidate(self, identity: str) -> None:
        if any(light.device == identity for light in self._view.device_lights()):
            raise ActionError(409, "unknown", f"{identity} is adopted already; release it first")
        if all(candidate.identity != identity for candidate in self._view.candidates()):
            raise ActionError(
                404, "unknown", f"{identity} is not among the devices found; search again"
            )


def _told_wrong(choice: CommandChoice, argument: str | None) -> str:
    if choice.high is not None:
        offered = f"{choice.low}..{choice.high}"
    else:
        offered = ", ".join(choice.arguments)
    return f"{choice.command} takes {offered}, not {argument or ''!r}"


def _network(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise SetupError(f"{text!r} is no subnet ({error}); write like 10.1.2.0/24") from error


def explain(error: ActionError, _: Callable[[str], str]) -> str:
    """Say in the reader's language what to do about an error; its detail stays beside it."""
    remedies: Mapping[str, str] = {
        "unknown": _("That is no longer on offer; reload the page."),
        "unreachable": _("The device does not answer. Check its power and cable, then try again."),
        "refused": _("The device said no. Check the password and what it allows."),
        "setup": _("This has to be put right first."),
        "protocol": _("The device answered in a way its profile does not know."),
        "slow": _("It takes too long. What came of it will show at the device."),
        "invalid": _("Something in the form is missing or not as it should be."),
    }
    return remedies[error.code]


async def bounded(awaitable: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError as error:
        raise ActionError(504, "slow", f"no result after {seconds:g} s") from error
    except DriverError as error:
        status, code = next(
            answer for family, answer in _FAMILIES.items() if isinstance(error, family)
        )
        raise ActionError(status, code, str(error)) from error


_FAMILIES: Mapping[type[DriverError], tuple[int, str]] = {
    UnreachableError: (504, "unreachable"),
    RefusedError: (409, "refused"),
    SetupError: (409, "setup"),
    ProtocolError: (502, "protocol"),
    DriverError: (502, "protocol"),
}
