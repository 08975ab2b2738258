"""Words inside our sentences that no string of the source shows: of codes, profiles, libraries."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from drivers.codecs.modbus import ExceptionCode, ExceptionReply
from edge.pages.box_view import LinkState
from firmware_profiles.catalog import load_catalog

Words = Iterator[tuple[str, str]]
"""Each with the file that it is from."""


def _modbus_words() -> Words:
    for code in ExceptionCode:
        reply = ExceptionReply(unit=1, function=3, code=code)
        yield (reply.meaning, "drivers/codecs/modbus.py")


def _link_words() -> Words:
    yield from ((each.value, "edge/pages/box_view.py") for each in LinkState)


def _profile_words() -> Words:
    """Yield what the bundled profiles say: models' names, and what is known of firmwares."""
    for profile in load_catalog().profiles.values():
        place = f"firmware_profiles/devices/{profile.kind}/{profile.id}.toml"
        said = [text for each in profile.firmware for text in (each.reason, each.how) if text]
        yield from ((text, place) for text in (profile.name, *said))


def _system_words() -> Words:
    """Yield what the operating system and libraries say inside our sentences."""
    place = "provisioning/retelling.py"
    yield from ((os.strerror(code), place) for code in _SYSTEM_ERRORS)
    yield from ((text, place) for text in _LIBRARIES_SAY)


_SYSTEM_ERRORS = (
    errno.EACCES,
    errno.EADDRINUSE,
    errno.EADDRNOTAVAIL,
    errno.EBUSY,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EEXIST,
    errno.EHOSTUNREACH,
    errno.EINVAL,
    errno.EIO,
    errno.EISDIR,
    errno.EMFILE,
    errno.ENETUNREACH,
    errno.ENODEV,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.EPERM,
    errno.EPIPE,
    errno.EROFS,
    errno.ETIMEDOUT,
)
_LIBRARIES_SAY = (
    "[Errno {0}] {1}: {2}",
    "[Errno {0}] {1}",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Cannot connect to host {0} ssl:{1} [{2}]",
    "certificate verify failed: {0} ({1})",
    "[Errno {0}] Connect call failed ({1})",
    "Connect call failed ({0})",
    "Could not configure port: ({0}, '{1}')",
    "error while attempting to bind on address {0}: {1}",
    "address already in use",
    "cannot assign requested address",
    "certificate has expired",
    "certificate is not yet valid",
    "self-signed certificate",
    "self-signed certificate in certificate chain",
    "unable to get local issuer certificate",
    "Hostname mismatch, certificate is not valid for {0}.",
    "IP address mismatch, certificate is not valid for {0}.",
    "Port out of range 0-65535",
    "Port could not be cast to integer value as {0}",
    "{0} has host bits set",
    "Maximum request body size {0} exceeded.",
    "File is not a zip file",
    "'utf-8' codec can't decode byte {0} in position {1}: {2}",
    "invalid continuation byte",
    "invalid start byte",
    "unexpected end of data",
    "database or disk is full",
    "database is locked",
    "disk I/O error",
    "attempt to write a readonly database",
    "Expected `{0}`, got `{1}`",
    "Expected `{0}` <= {1} - at `$.{2}`",
    "Expected `{0}` >= {1} - at `$.{2}`",
    "Expected `{0}`",
    "Object contains unknown field `{0}`",
    "Object missing required field `{0}`",
    "Invalid enum value {0}",
    "JSON is malformed: {0}",
    "Input data was truncated",
    "{0} - at `{1}`",
    "MessagePack data is malformed: {0}",
    "Invalid statement",
    "Invalid value",
    "Expected '=' after a key in a key/value pair",
    "{0} (at line {1}, column {2})",
    "{0} (at end of document)",
)
OTHERS: Final[Mapping[str, Callable[[], Words]]] = {
    "drivers": _modbus_words,
    "edge": _link_words,
    "firmware_profiles": _profile_words,
    "provisioning": _system_words,
}
"""What each package says besides; by package."""
