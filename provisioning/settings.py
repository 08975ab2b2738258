"""What stands as text in a configuration file and is more than text: paths and addresses."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

_KINDS = {Path, IPv4Address, IPv4Interface, IPv4Network}


def decode_setting(kind: type, value: object) -> object:
    """Return a setting as ``kind``, for ``msgspec``'s ``dec_hook``.

    Raises ValueError or TypeError, which msgspec tells with the key, for what is none.
    """
    if kind not in _KINDS:
        raise NotImplementedError(f"a setting of type {kind.__name__}")
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")  # as msgspec says it
    return kind(value)
