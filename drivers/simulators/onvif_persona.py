"""A make of camera, as its profile describes it, for the simulated camera to be one."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import unquote

from drivers.codecs.pull_point import CameraEvent, read_notification
from drivers.errors import ProtocolError
from firmware_profiles.model import Profile
from firmware_profiles.quirks import QuirkId

_NAME_SCOPE = "onvif://www.onvif.org/name/"
_NUMBERS = frozenset({"0", "1"})
# Axis, VAPIX event and action services: the namespace of its own topics.
_TOPIC_NAMESPACES: Mapping[str, str] = MappingProxyType(
    {"tnsaxis": "http://www.axis.com/2009/event/topics"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a camera says when something begins or ends; ``item`` is the datum that tells which."""

    topic: str
    source: tuple[tuple[str, str], ...]
    item: str
    on: str = "true"
    off: str = "false"

    @property
    def namespaces(self) -> str:
        """The declarations of the topic's prefixes, but for ONVIF's own."""
        used = {step.partition(":")[0] for step in self.topic.split("/") if ":" in step}
        return "".join(
            f' xmlns:{prefix}="{_TOPIC_NAMESPACES.get(prefix, f"urn:schoolnode:{prefix}")}"'
            for prefix in sorted(used - {"tns1"})
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnvifPersona:
    """``name`` is what it announces itself as, and its model."""

    manufacturer: str
    name: str
    quirks: frozenset[QuirkId]
    notices: tuple[Notice, ...]


def persona_of(profile: Profile) -> OnvifPersona:
    """Return the camera that a profile's vectors quote; ProtocolError when they cannot be read."""
    scopes = [vector.reply for vector in profile.vectors if not vector.request]
    named = [unquote(s.removeprefix(_NAME_SCOPE)) for s in scopes if s.startswith(_NAME_SCOPE)]
    told = [read_notification(vector.reply) for vector in profile.vectors if vector.request]
    return OnvifPersona(
        manufacturer=profile.vendor,
        name=named[0] if named else profile.name or profile.id,
        quirks=profile.quirk_ids,
        notices=tuple(_notice(profile, event) for event in told),
    )


def _notice(profile: Profile, told: CameraEvent) -> Notice:
    topics = {
        "/".join(step.rpartition(":")[2] for step in event.topic.split("/")): event.topic
        for event in profile.events
    }
    if not told.data:
        raise ProtocolError(f"{profile.id}: a quoted notification tells no item of data")
    item, value = told.data[0]
    numbers = value in _NUMBERS
    return Notice(
        topic=topics.get(told.topic, told.topic),
        source=told.source,
        item=item,
        on="1" if numbers else "true",
        off="0" if numbers else "false",
    )
