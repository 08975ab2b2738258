"""TLS 1.3 contexts of hub and box, and who is at the other end of a connection."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from provisioning.certificates import instant, milliseconds, read_certificate
from provisioning.errors import IdentityDamagedError, ImpostorError, ProtocolError
from provisioning.identity import HubIdentity, Identity
from provisioning.trust import DistrictTrust, pem

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, which Python's ssl does not name.
_NO_CHECK_TIME = 0x200000
# X509_V_ERR_APPLICATION_VERIFICATION of the same header.
_REJECTED_BY_APPLICATION = 50
_ALPN = ["http/1.1"]


def hub_box_port_context(hub: HubIdentity) -> ssl.SSLContext:
    """Return the context of the port that boxes call.

    A client certificate is optional, because a box that enrols has none; one that is shown must
    chain to the district's root, and its key is proven. Who may do what, expiry included, is
    judged at each request by ``BoxGate``: a box whose certificate ran out over the summer then
    gets an answer in words, and may renew, where a failed handshake would only hang up on it.
    """
    context = pages_context(hub.tls_pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    context.load_verify_locations(cadata=pem(hub.trust.root).decode())
    return context


def pages_context(key_and_chain: Path) -> ssl.SSLContext:
    """Return the context of a server that shows pages: the hub's, or a box's on its LAN.

    A renewed file is taken up by ``context.load_cert_chain`` for new connections.
    Raises IdentityDamagedError when the file does not hold a key and its certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    # A resumed session would carry a certificate past its expiry and its revocation.
    context.num_tickets = 0
    context.set_alpn_protocols(_ALPN)
    _load(context, key_and_chain)
    return context


def box_client_context(identity: Identity, now_ms: Callable[[], int]) -> ssl.SSLContext:
    """Return the context with which an enrolled box calls its hub, showing its certificate."""
    context = hub_client_context(identity.trust, now_ms, floor_ms=identity.binding.not_before_ms)
    _load(context, identity.tls_pem)
    return context


def hub_client_context(
    trust: DistrictTrust, now_ms: Callable[[], int], *, floor_ms: int = 0
) -> ssl.SSLContext:
    """Return a client context that talks to the district's hub and to no other server.

    Beyond OpenSSL's chain and host name checks, the handshake fails (SSLCertVerificationError)
    unless the certificate carries the hub's name, for the LAN pages of every school share its
    issuer. Time is judged here by ``now_ms``, not by the machine: a box without a battery clock
    is always behind, so *not yet valid* is forgiven and *expired* is not, and the clock is never
    taken to be before ``floor_ms``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VerifyFlags(_NO_CHECK_TIME)
    context.set_alpn_protocols(_ALPN)
    context.load_verify_locations(cadata=pem(trust.root).decode())

    def check(peer: bytes | None) -> None:
        _require_hub(peer, trust, max(now_ms(), floor_ms))

    class CheckedObject(ssl.SSLObject):
        """What asyncio and uvloop shake hands with."""

        def do_handshake(self) -> None:
            super().do_handshake()
            check(self.getpeercert(binary_form=True))

    class CheckedSocket(ssl.SSLSocket):
        """The same for a blocking socket."""

        def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 — ssl's own
            super().do_handshake(block)
            check(self.getpeercert(binary_form=True))

    context.sslobject_class = CheckedObject
    context.sslsocket_class = CheckedSocket
    return context


def unverified_context() -> ssl.SSLContext:
    """Return the context that fetches an authority to compare with a join code, nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(_ALPN)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def peer_certificate(transport: asyncio.BaseTransport | None) -> bytes | None:
    """Return the DER certificate the other end showed and OpenSSL verified, None without one."""
    shown = None if transport is None else transport.get_extra_info("ssl_object")
    if not isinstance(shown, ssl.SSLObject):
        return None
    return shown.getpeercert(binary_form=True)


def _require_hub(peer: bytes | None, trust: DistrictTrust, now_ms: int) -> None:
    if peer is None:
        raise _rejection("the server shows no certificate")
    try:
        certificate = read_certificate(peer)
        binding = trust.hub_binding(certificate)
    except (ImpostorError, ProtocolError) as error:
        raise _rejection(str(error)) from error
    if min(binding.not_after_ms, milliseconds(trust.servers.not_valid_after_utc)) <= now_ms:
        raise _rejection(
            f"the hub's certificate expired on {instant(binding.not_after_ms):%Y-%m-%d} and this "
            f"box's clock says {instant(now_ms):%Y-%m-%d}; set the clock or tell the district"
        )


def _rejection(message: str) -> ssl.SSLCertVerificationError:
    """Return the error that asyncio and aiohttp know as a refused certificate."""
    rejection = ssl.SSLCertVerificationError(message)
    # OpenSSL fills these in for its own refusals, and readers count on them.
    rejection.verify_code = _REJECTED_BY_APPLICATION
    rejection.verify_message = message
    return rejection


def _load(context: ssl.SSLContext, key_and_chain: Path) -> None:
    try:
        context.load_cert_chain(key_and_chain)
    except (OSError, ssl.SSLError) as error:
        raise IdentityDamagedError(
            f"{key_and_chain}: holds no key with its certificate ({error}); restore it"
        ) from error
