"""Devices as a person adopted them, and what a contact board is heard to read."""

from pathlib import Path

from drivers.cameras.messages import CameraDescription, StreamProfile
from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId, Measurement, Quality
from edge.devices.adopted import AdoptedDevice

CONTACTS = DeviceId("modbus:gate:1")


def contact_board(port: Path, baud: int = 9600) -> AdoptedDevice:
    """Return a board of eight contacts, unit 1 of the line at ``port``: ``CONTACTS``."""
    return AdoptedDevice(
        device=CONTACTS,
        kind=DeviceKind.SAFETY_INPUT,
        name="门卫室模块",
        profile="input-waveshare-io-8",
        address=f"serial:{port}?baud={baud}&unit=1",
        room=None,
    )


def contact_reading(word: str, observed_ms: int, point: str = "input_1") -> Measurement:
    """Return what a contact of ``CONTACTS`` reads, ``open`` or ``closed``."""
    return Measurement(
        device=CONTACTS,
        point=point,
        value=word,
        unit="",
        quality=Quality.GOOD,
        observed_ms=observed_ms,
        source="test",
    )


def adopted_camera(
    device: DeviceId, address: str, *, name: str = "camera", room: str | None = "101"
) -> AdoptedDevice:
    """Return a camera that speaks ONVIF at an address."""
    return AdoptedDevice(
        device=device,
        kind=DeviceKind.CAMERA,
        name=name,
        profile="onvif-camera",
        address=address,
        room=room,
    )


def described_camera(camera: str, host: str = "192.0.2.8") -> CameraDescription:
    """Return what a camera told of itself: a main and a small stream, no motor."""
    main, sub = (
        StreamProfile(
            token=name,
            encoding="H264",
            width=1280,
            height=720,
            fps=25,
            uri=f"rtsp://{host}/{camera}/{name}",
        )
        for name in ("main", "sub")
    )
    return CameraDescription(
        manufacturer="",
        model="",
        firmware="",
        serial=camera,
        mac=None,
        clock_offset_ms=0,
        main=main,
        sub=sub,
        snapshot_uri=None,
        has_ptz=False,
    )
