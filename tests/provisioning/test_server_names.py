import pytest
from cryptography import x509

from provisioning.errors import Refusal, RefusedError, SetupError
from provisioning.server_names import hub_names, lan_page_names

HUB = ("hub.jiangxia.edu.cn", "10.0.0.1", "hub.local", "127.0.0.1")


def names_of(*names: str) -> list[str]:
    found = lan_page_names(names, district="jiangxia", school=7, hub=HUB)
    return [str(name.value) for name in found]


def test_a_page_always_has_the_schools_own_name() -> None:
    assert names_of() == ["school-7.jiangxia.schoolnode.internal"]
    assert names_of("school-7.jiangxia.schoolnode.internal") == names_of()


@pytest.mark.parametrize(
    "name",
    [
        "192.168.1.9",
        "10.200.0.3",
        "172.16.0.1",
        "169.254.7.7",
        "127.0.2.1",
        "::1",
        "fe80::1",
        "fd00::5",
        "localhost",
        "box.local",
        "BOX-7.Local",
    ],
)
def test_a_page_may_be_called_what_stays_in_the_school(name: str) -> None:
    assert names_of(name)[1:] == [name.lower()]


@pytest.mark.parametrize(
    "name",
    [
        "8.8.8.8",
        "172.32.0.1",
        "100.64.0.1",
        "192.0.2.1",
        "0.0.0.0",  # noqa: S104 — a refused certificate name, nothing binds to it
        "::ffff:10.0.0.9",
        "2001:db8::1",
        "school-8.jiangxia.schoolnode.internal",
        "school-7.other.schoolnode.internal",
        "jiangxia.schoolnode.internal",
        "bank.example",
        "*.local",
        "*",
        "local",
        ".local",
        "evil.example\x00.local",
        "a b.local",
        "",
        "x" * 64 + ".local",
    ],
)
def test_anything_else_is_more_than_a_box_may_have(name: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        names_of(name)
    assert refusal.value.reason is Refusal.TOO_MUCH


@pytest.mark.parametrize("name", ["10.0.0.1", "hub.local", "HUB.local"])
def test_a_page_may_not_take_the_hubs_name(name: str) -> None:
    with pytest.raises(RefusedError):
        names_of(name)


def test_loopback_is_nobodys_own() -> None:
    assert "127.0.0.1" in names_of("127.0.0.1")


def test_the_number_of_names_is_bounded() -> None:
    with pytest.raises(RefusedError):
        names_of(*(f"10.1.0.{last}" for last in range(17)))


def test_the_administrator_names_the_hub() -> None:
    assert hub_names(["hub.example", "1.2.3.4"]) == [
        x509.DNSName("hub.example"),
        x509.IPAddress(hub_names(["1.2.3.4"])[0].value),
    ]
    for wrong in (["hub example"], ["https://hub"], []):
        with pytest.raises(SetupError):
            hub_names(wrong)
