"""What a person adopted, and what drives such devices: one :class:`Group` for each way to speak."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from drivers.discovery.candidate import DeviceKind
from drivers.entities import CommandResult, DeviceId
from drivers.errors import SetupError
from edge.pages.box_view import CommandChoice
from firmware_profiles.model import LinkType, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedDevice:
    """A device as a person adopted it."""

    device: DeviceId
    kind: DeviceKind
    name: str
    profile: str
    address: str
    room: str | None


class Group(ABC):
    """Drives every adopted device that speaks in one of some ways.

    A group is told of a device once; it owns the device's place (port, address) until
    :meth:`release`.
    """

    link_types: ClassVar[frozenset[LinkType]]
    """The first link of a profile decides which group drives the device."""

    @abstractmethod
    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        """Drive one more device from now on.

        Raises SetupError when its address cannot be used or its place is taken.
        """

    @abstractmethod
    async def release(self, device: DeviceId) -> None:
        """Drive a device no more; harmless when it is none of this group."""

    def commands_of(self, device: DeviceId) -> tuple[CommandChoice, ...]:
        """Return what the device can be told."""
        del device
        return ()

    async def command(self, device: DeviceId, command: str, argument: str) -> CommandResult:
        """Carry out a command; raises SetupError when the device takes none."""
        del command, argument
        raise SetupError(f"{device} takes no commands")

    def wishes(self) -> Mapping[DeviceId, Mapping[str, str]]:
        """Return what people want each device to be, to be kept through a restart."""
        return {}

    def facts(self) -> Mapping[DeviceId, Mapping[str, str]]:
        """Return what was learnt of each device, to be kept through a restart.

        Devices whose drivers keep their facts themselves are left out.
        """
        return {}
