"""What cameras do differently within the standard, for the simulated one."""

from dataclasses import dataclass

from drivers.simulators.onvif_dialects import PLAIN, Dialect
from drivers.simulators.onvif_persona import OnvifPersona
from firmware_profiles.quirks import QuirkId

LIFETIME_S_MAX = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraHabits:
    """A camera of both media services that tells its services in both ways, unless said otherwise.

    ``left_out`` may have ``media``, then it is one of Profile T alone, or ``media2``, then it is
    one of Profile S. ``refused`` are operations it does not know. ``lifetime_s_max`` is the longest
    event subscription it grants, ``persona`` the make of camera that it is.
    """

    left_out: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    plays_over_tcp: bool = True  # RTP within the RTSP connection, which is optional
    lifetime_s_max: int = LIFETIME_S_MAX
    dialect: Dialect = PLAIN
    persona: OnvifPersona | None = None
    port: int = 8000

    @property
    def quirks(self) -> frozenset[QuirkId]:
        """The oddities of its make."""
        return frozenset() if self.persona is None else self.persona.quirks


USUAL = CameraHabits()
