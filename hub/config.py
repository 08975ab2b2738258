"""The hub's one configuration file; unknown keys are refused, and no secret is in it."""

from pathlib import Path
from typing import Annotated

import msgspec

from hub.errors import HubSetupError
from provisioning.settings import decode_setting

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class BoxPort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where boxes call; ``names`` are what the certificate carries and join codes may name."""

    address: str = "0.0.0.0"  # noqa: S104 - boxes call from everywhere; TLS judges them
    port: Port = 7443
    names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)]


class PagesPort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where people open the hub's pages."""

    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: Port = 8443


class SealSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When patient rows become a segment."""

    after_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0


class Backups(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The hub's own backups, which other programs make: how long one is kept, at most.

    By this an erasure's completion is dated, and history is not dropped before it.
    """

    kept_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30


class Lessons(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cache of sealed lessons before the hub: where boxes find it, and where it asks.

    ``origin`` is the Unix socket, relative to the file; it is opened when there is a ``cache_url``.
    """

    cache_url: Annotated[str, msgspec.Meta(pattern=r"^(https://[A-Za-z0-9.:\[\]-]{1,240})?$")] = ""
    origin: Path = Path("lessons.sock")


class HubConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See ``docs/hub.md``; ``folder`` is relative to the file."""

    district: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
    district_name: str
    folder: Path
    boxes: BoxPort
    pages: PagesPort = PagesPort()
    seal: SealSettings = SealSettings()
    backups: Backups = Backups()
    lessons: Lessons = Lessons()


def load_config(path: Path) -> HubConfig:
    """Read a configuration file; raises HubSetupError that names file, key and remedy."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HubSetupError(
            f"{path}: cannot be read ({error.strerror}); write one as docs/hub.md shows, or name"
            " another with --config"
        ) from error
    try:
        config = msgspec.toml.decode(content, type=HubConfig, dec_hook=decode_setting)
    except (msgspec.DecodeError, ValueError) as error:
        raise HubSetupError(f"{path}: {error}; correct that line and start again") from error
    lessons = msgspec.structs.replace(config.lessons, origin=path.parent / config.lessons.origin)
    return msgspec.structs.replace(config, folder=path.parent / config.folder, lessons=lessons)
