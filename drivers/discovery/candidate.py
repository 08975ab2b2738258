"""What discovery finds, before a person adopts it."""

from dataclasses import dataclass
from enum import StrEnum


class DeviceKind(StrEnum):
    """Kinds the product knows; the value is what pages and the JSON of the demo show."""

    FARM_SENSOR = "farm_sensor"
    FARM_ACTUATOR = "farm_actuator"
    CARD_READER = "card_reader"
    ATTENDANCE_TERMINAL = "attendance_terminal"
    CAMERA = "camera"
    BLACKBOARD = "blackboard"
    SPORTS_GATEWAY = "sports_gateway"
    SAFETY_INPUT = "safety_input"
    CLASS_CARD = "class_card"


class Need(StrEnum):
    """What adoption still wants from a person."""

    NOTHING = "nothing"
    PASSWORD = "password"  # noqa: S105 — a word of the user interface, not a secret
    PROFILE = "profile"  # it answers, but no profile fits
    ONVIF = "onvif"  # a camera tells of itself, and was not found to speak ONVIF
    CHOICE = "choice"  # several models might be it, and nothing it says tells which


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One observation, as a person can read it: how it was seen and what was seen."""

    method: str  # e.g. "ws-discovery", "modbus read", "serial listen", "pjlink search"
    detail: str
    observed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A discovered device.

    ``identity`` is stable over re-addressing (serial number, MAC, ``bus:unit``); ``address`` is
    where it was seen and is enough, with ``profile``, to drive it:
    ``serial:/path?baud=9600&unit=17``,
    ``pjlink://127.0.2.21:4352``, ``http://127.0.2.31:8000/onvif/device_service``. ``choices`` are
    the profiles that might fit, where a person who sees the device has to say which.
    ``unconfirmed`` are the points, commands and events of ``profile``, and ``link``, that no
    document and no device wholly confirms.
    """

    identity: str
    kind: DeviceKind
    address: str
    name: str
    profile: str | None
    evidence: tuple[Evidence, ...]
    confidence: float  # 0..1
    needs: Need = Need.NOTHING
    choices: tuple[str, ...] = ()
    unconfirmed: tuple[str, ...] = ()
