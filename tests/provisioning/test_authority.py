"""OpenSSL's own program is the second opinion on every chain here."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisioning.authority import Authority, open_authority
from provisioning.box_keys import new_box_keys
from provisioning.errors import IdentityDamagedError, ImpostorError, ProtocolError, SetupError
from provisioning.server_names import hub_names
from provisioning.trust import DistrictTrust, pem, read_trust
from tests.system_needs import need

NOW_MS = 1_790_000_000_000
NOW_S = str(NOW_MS // 1000)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return open_authority(tmp_path / "authority", district="jiangxia", now_ms=NOW_MS)


def box_certificate(authority: Authority, *, now_ms: int = NOW_MS) -> x509.Certificate:
    keys = new_box_keys()
    return authority.issue_box(
        school=7,
        box="3fa94c1e",
        tls_key=keys.tls.public_key(),
        keys=keys.bound(),
        now_ms=now_ms,
    )


def page_certificate(authority: Authority) -> x509.Certificate:
    return authority.issue_page(
        school=7,
        names=[x509.DNSName("box.local")],
        tls_key=new_box_keys().page.public_key(),
        now_ms=NOW_MS,
    )


def openssl_verify(
    folder: Path, trust: DistrictTrust, issuer: x509.Certificate, leaf: x509.Certificate, *use: str
) -> str:
    """Return what ``openssl verify`` says of a chain."""
    openssl = need("openssl", "openssl")
    for name, certificate in (("root", trust.root), ("issuer", issuer), ("leaf", leaf)):
        (folder / f"{name}.pem").write_bytes(pem(certificate))
    command = [openssl, "verify", "-x509_strict", "-attime", NOW_S, *use]
    files = ["-CAfile", "root.pem", "-untrusted", "issuer.pem", "leaf.pem"]
    done = subprocess.run(
        command + files, cwd=folder, capture_output=True, text=True, check=False, timeout=20
    )
    return done.stdout + done.stderr


def test_openssl_accepts_a_box_as_client_and_only_as_client(
    tmp_path: Path, authority: Authority
) -> None:
    trust, leaf = authority.trust, box_certificate(authority)
    said = openssl_verify(tmp_path, trust, trust.boxes, leaf, "-purpose", "sslclient")
    assert said == "leaf.pem: OK\n"
    said = openssl_verify(tmp_path, trust, trust.boxes, leaf, "-purpose", "sslserver")
    assert "unsuitable certificate purpose" in said


def test_openssl_accepts_a_page_as_server_and_only_as_server(
    tmp_path: Path, authority: Authority
) -> None:
    trust, leaf = authority.trust, page_certificate(authority)
    use = ("-purpose", "sslserver", "-verify_hostname", "box.local")
    assert openssl_verify(tmp_path, trust, trust.servers, leaf, *use) == "leaf.pem: OK\n"
    said = openssl_verify(tmp_path, trust, trust.servers, leaf, "-purpose", "sslclient")
    assert "unsuitable certificate purpose" in said


def test_a_stolen_boxes_key_makes_neither_a_server_nor_another_districts_box(
    tmp_path: Path, authority: Authority
) -> None:
    """The thief signs with the boxes key whatever the program would never sign."""
    trust, keys = authority.trust, new_box_keys()
    thief = Authority(
        trust=DistrictTrust(
            district="yunxi", root=trust.root, boxes=trust.boxes, servers=trust.boxes
        ),
        boxes_key=authority.boxes_key,
        servers_key=authority.boxes_key,
    )
    other_district = box_certificate(thief)
    said = openssl_verify(tmp_path, trust, trust.boxes, other_district, "-purpose", "sslclient")
    assert "permitted subtree violation" in said
    with pytest.raises(ImpostorError, match="belongs to district yunxi"):
        trust.box_binding(other_district)
    for name in ("hub.example", "10.0.0.1"):
        server = thief.issue_page(
            school=7, names=hub_names([name]), tls_key=keys.tls.public_key(), now_ms=NOW_MS
        )
        said = openssl_verify(tmp_path, trust, trust.boxes, server, "-purpose", "sslserver")
        assert "unsuitable certificate purpose" in said
        assert "excluded subtree violation" in openssl_verify(
            tmp_path, trust, trust.boxes, server, "-purpose", "any"
        )


def test_a_certificate_binds_school_box_and_keys_for_thirty_days(authority: Authority) -> None:
    keys = new_box_keys()
    certificate = authority.issue_box(
        school=65535,
        box="00000001",
        tls_key=keys.tls.public_key(),
        keys=keys.bound(),
        now_ms=NOW_MS,
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [
        "schoolnode://jiangxia.schoolnode.internal/school/65535/box/00000001"
    ]
    binding = authority.trust.box_binding(certificate)
    assert (binding.school, binding.box, binding.keys) == (65535, "00000001", keys.bound())
    assert binding.not_after_ms - NOW_MS == 30 * 24 * 3600 * 1000


def test_a_server_never_passes_as_a_box_nor_a_box_or_page_as_the_hub(authority: Authority) -> None:
    keys = new_box_keys()
    hub = authority.issue_hub(
        names=hub_names(["hub.example"]),
        tls_key=keys.tls.public_key(),
        keys=keys.bound(),
        now_ms=NOW_MS,
    )
    page, box = page_certificate(authority), box_certificate(authority)
    assert authority.trust.hub_binding(hub).keys == keys.bound()
    for stranger in (hub, page, authority.trust.boxes, authority.trust.root):
        with pytest.raises(ImpostorError):
            authority.trust.box_binding(stranger)
    for stranger in (page, box, authority.trust.servers, authority.trust.root):
        with pytest.raises(ImpostorError):
            authority.trust.hub_binding(stranger)


@pytest.mark.parametrize(
    ("is_authority", "uses"),
    [
        (True, [ExtendedKeyUsageOID.CLIENT_AUTH]),
        (False, [ExtendedKeyUsageOID.SERVER_AUTH]),
        (False, [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
    ],
)
def test_a_name_and_keys_are_not_enough_the_use_has_to_be_a_boxs(
    authority: Authority, *, is_authority: bool, uses: list[x509.ObjectIdentifier]
) -> None:
    honest, tls_key = box_certificate(authority), new_box_keys().tls
    builder = x509.CertificateBuilder(
        issuer_name=honest.issuer,
        subject_name=honest.subject,
        public_key=tls_key.public_key(),
        serial_number=1,
        not_valid_before=honest.not_valid_before_utc,
        not_valid_after=honest.not_valid_after_utc,
    )
    for extension in honest.extensions:
        value: x509.ExtensionType = extension.value
        if isinstance(value, x509.BasicConstraints):
            value = x509.BasicConstraints(ca=is_authority, path_length=None)
        if isinstance(value, x509.ExtendedKeyUsage):
            value = x509.ExtendedKeyUsage(uses)
        builder = builder.add_extension(value, critical=extension.critical)
    with pytest.raises(ImpostorError, match="another use"):
        authority.trust.box_binding(builder.sign(authority.boxes_key, hashes.SHA256()))


def test_a_district_of_the_same_name_is_still_another_district(
    tmp_path: Path, authority: Authority
) -> None:
    twin = open_authority(tmp_path / "twin", district="jiangxia", now_ms=NOW_MS)
    with pytest.raises(ImpostorError):
        authority.trust.box_binding(box_certificate(twin))


def test_the_second_start_finds_the_same_authority_without_the_root_key(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    first = open_authority(folder, district="jiangxia", now_ms=NOW_MS)
    (folder / "root.key").unlink()
    second = open_authority(folder, district="jiangxia", now_ms=NOW_MS)
    assert second.trust == first.trust
    second.trust.box_binding(box_certificate(second))


def test_keys_are_readable_by_one_user_only(tmp_path: Path, authority: Authority) -> None:
    folder = tmp_path / "authority"
    assert authority.trust.district == "jiangxia"
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == dict.fromkeys(("root.key", "boxes.key", "servers.key", "authority.pem"), 0o600)


def test_a_first_start_cut_short_is_begun_again(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    open_authority(folder, district="jiangxia", now_ms=NOW_MS)
    (folder / "authority.pem").rename(folder / ".authority.pem.new")
    again = open_authority(folder, district="jiangxia", now_ms=NOW_MS)
    again.trust.box_binding(box_certificate(again))


def test_a_folder_that_cannot_be_right_is_named_with_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    open_authority(folder, district="jiangxia", now_ms=NOW_MS)
    with pytest.raises(SetupError, match="district jiangxia, not yunxi"):
        open_authority(folder, district="yunxi", now_ms=NOW_MS)
    (folder / "boxes.key").chmod(0o644)
    with pytest.raises(IdentityDamagedError, match="chmod 600"):
        open_authority(folder, district="jiangxia", now_ms=NOW_MS)
    (folder / "boxes.key").unlink()
    (folder / "servers.key").replace(folder / "boxes.key")
    (folder / "servers.key").symlink_to("boxes.key")
    with pytest.raises(IdentityDamagedError, match="do not belong together"):
        open_authority(folder, district="jiangxia", now_ms=NOW_MS)


def test_a_hub_with_a_clock_of_1970_issues_nothing(tmp_path: Path, authority: Authority) -> None:
    with pytest.raises(SetupError, match="1970-01-01"):
        open_authority(tmp_path / "new", district="jiangxia", now_ms=0)
    with pytest.raises(SetupError, match="set it"):
        box_certificate(authority, now_ms=1000)


@pytest.mark.parametrize("district", ["", "Jiangxia", "a" * 33, "-a", "a-", "a.b", "江夏"])
def test_a_district_is_a_short_ascii_name(tmp_path: Path, district: str) -> None:
    with pytest.raises(SetupError):
        open_authority(tmp_path / "new", district=district, now_ms=NOW_MS)


def test_a_bundle_is_read_only_whole_in_order_and_signed_by_its_root(
    tmp_path: Path, authority: Authority
) -> None:
    trust = authority.trust
    twin = open_authority(tmp_path / "twin", district="jiangxia", now_ms=NOW_MS).trust
    assert read_trust(trust.pem(), root_pin=trust.root_pin()) == trust
    with pytest.raises(ImpostorError, match="not the one that made this code"):
        read_trust(twin.pem(), root_pin=trust.root_pin())
    for certificates in (
        (trust.root, twin.boxes, trust.servers),
        (trust.root, trust.boxes, twin.servers),
        (trust.root, trust.boxes, box_certificate(authority)),
        (trust.root, trust.servers, trust.boxes),
        (trust.root, trust.boxes),
        (trust.root, trust.boxes, trust.servers, trust.servers),
    ):
        with pytest.raises((ImpostorError, ProtocolError)):
            read_trust(b"".join(map(pem, certificates)), root_pin=trust.root_pin())
    for rubbish in (b"", b"x" * 20_000, trust.pem()[:-40], b"-----BEGIN CERTIFICATE-----"):
        with pytest.raises(ProtocolError):
            read_trust(rubbish)
