"""What cameras do differently within the standard, for the simulated one."""

from dataclasses import dataclass

from drivers.simulators.onvif_dialects import PLAIN, Dialect
from drivers.simulators.onvif_persona import OnvifPersona
from firmware_profiles.quirks import QuirkId

LIFETIME_S_MAX = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraHabits:
    """A camera of both media services that tells its services in both ways, unless said otherwise.

    Without the first media service it is one of Profile T alone, without the second one of
    Profile S. ``lifetime_s_max`` is the longest event subscription it grants, ``persona`` the make
    of camera that it is.
    """

    has_media1: bool = True
    has_media2: bool = True
    tells_services: bool = True  # answers GetServices, which came after GetCapabilities
    tells_capabilities: bool = True
    tells_interfaces: bool = True  # and with them its hardware address
    plays_over_tcp: bool = True  # RTP within the RTSP connection, which is optional
    lifetime_s_max: int = LIFETIME_S_MAX
    dialect: Dialect = PLAIN
    persona: OnvifPersona | None = None
    port: int = 8000

    @property
    def quirks(self) -> frozenset[QuirkId]:
        """The oddities of its make."""
        return frozenset() if self.persona is None else self.persona.quirks

    @property
    def left_out(self) -> frozenset[str]:
        """The services it does not have, by the names of ``onvif_replies.SERVICES``."""
        has = {"media": self.has_media1, "media2": self.has_media2}
        return frozenset(name for name, is_there in has.items() if not is_there)


USUAL = CameraHabits()
