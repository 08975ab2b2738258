"""Paths and addresses of a configuration file are read, and what is neither is refused."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import msgspec
import pytest

from provisioning.settings import decode_setting


class Settings(msgspec.Struct, kw_only=True, omit_defaults=True):
    folder: Path = Path()
    hub: IPv4Address = IPv4Address(0)
    lan: IPv4Interface = IPv4Interface(0)
    scan: tuple[IPv4Network, ...] = ()


def test_paths_and_addresses_are_read_from_text() -> None:
    text = b'folder = "a/b"\nhub = "10.8.3.1"\nlan = "10.8.3.2/24"\nscan = ["10.8.4.0/24"]\n'
    assert msgspec.toml.decode(text, type=Settings, dec_hook=decode_setting) == Settings(
        folder=Path("a/b"),
        hub=IPv4Address("10.8.3.1"),
        lan=IPv4Interface("10.8.3.2/24"),
        scan=(IPv4Network("10.8.4.0/24"),),
    )


@pytest.mark.parametrize(
    "text", ['hub = "10.8.3"', 'lan = "10.8.3.2/40"', 'scan = ["10.8.3.2/24"]']
)
def test_an_address_that_is_none_is_refused_with_its_key(text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"at `\$\.{text.split(maxsplit=1)[0]}"):
        msgspec.toml.decode(text, type=Settings, dec_hook=decode_setting)


def test_a_number_in_the_place_of_a_path_is_refused_with_its_key() -> None:
    with pytest.raises(
        msgspec.ValidationError, match=r"Expected `str`, got `int` - at `\$.folder`"
    ):
        msgspec.toml.decode("folder = 3", type=Settings, dec_hook=decode_setting)
