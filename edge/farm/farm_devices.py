"""Which adopted devices a rule may switch and read, by their profiles."""

from collections.abc import Iterator
from dataclasses import dataclass

from drivers.codecs.modbus_commands import is_as_told, verified_point
from drivers.codecs.modbus_points import PointValue
from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId, Measurement, Quality
from edge.devices.fleet import Fleet
from edge.farm.rule import Output, Source
from edge.farm.world import Seen
from firmware_profiles.model import MODBUS, Command, Point

FARM_KINDS = frozenset({DeviceKind.FARM_SENSOR, DeviceKind.FARM_ACTUATOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmOutput:
    """A command that a rule may drive: its profile says what is safe, and what shows it."""

    output: Output
    device_name: str
    command: Command
    point: Point
    on: str
    off: str
    longest_on_s: int

    def seen(self, reading: Measurement | None) -> Seen:
        """Return what a reading of :attr:`point` says of the output."""
        if reading is None or reading.quality is not Quality.GOOD:
            return Seen.UNKNOWN
        value = PointValue(value=reading.value, quality=reading.quality)
        if is_as_told(self.command, self.off, self.point, value):
            return Seen.OFF
        return Seen.ON


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmPoint:
    """A point that a condition may read; ``words`` are those of a point that tells no number."""

    source: Source
    device_name: str
    unit: str
    words: tuple[str, ...]


def farm_outputs(fleet: Fleet) -> dict[Output, FarmOutput]:
    """Return the outputs that can be made safe and read back; others no rule may drive."""
    return {each.output: each for each in _outputs(fleet)}


def farm_points(fleet: Fleet) -> list[FarmPoint]:
    """Return every point of the farm's devices, by device and point."""
    return [
        FarmPoint(
            source=Source(point=point.id, device=device),
            device_name=adopted.name,
            unit=point.unit,
            words=tuple(dict.fromkeys(point.enum.values())),
        )
        for device, adopted in sorted(fleet.devices.items())
        if adopted.kind in FARM_KINDS
        for point in fleet.profile_of(device).points
        if point.capability != "firmware"
    ]


def devices_with(fleet: Fleet, point: str, devices: tuple[str, ...]) -> tuple[DeviceId, ...]:
    """Return those of some devices that are adopted and have a point."""
    adopted = [DeviceId(device) for device in devices if device in fleet.devices]
    return tuple(
        device
        for device in adopted
        if any(each.id == point for each in fleet.profile_of(device).points)
    )


def _outputs(fleet: Fleet) -> Iterator[FarmOutput]:
    for device, adopted in sorted(fleet.devices.items()):
        if adopted.kind is not DeviceKind.FARM_ACTUATOR:
            continue
        profile = fleet.profile_of(device)
        if profile.links[0].type not in MODBUS:
            continue
        for command in profile.commands:
            point, interlock = verified_point(profile, command), command.interlock
            if command.write is None or point is None or interlock is None:
                continue
            others = [word for word in command.values if word != interlock.fail_safe]
            if interlock.fail_safe not in command.values or not others:
                continue
            yield FarmOutput(
                output=Output(device=device, command=command.id),
                device_name=adopted.name,
                command=command,
                point=point,
                on="on" if "on" in others else others[0],
                off=interlock.fail_safe,
                longest_on_s=interlock.longest_on_s,
            )
