"""The hub's enrolment desk: it invites, certifies and renews, without any I/O of its own."""

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from provisioning.attempt_limit import AttemptLimit
from provisioning.authority import Authority
from provisioning.certificates import (
    SCHOOL_MAX,
    Binding,
    BoundKeys,
    milliseconds,
    read_certificate,
)
from provisioning.enrolment_wire import (
    EnrolmentAnswer,
    EnrolmentRequest,
    KeyRequest,
    RenewalAnswer,
    check_key_request,
    decode,
    encode,
)
from provisioning.errors import ProtocolError, Refusal, RefusedError, SetupError
from provisioning.identity import HubIdentity
from provisioning.invitations import Invitation, InvitationStore
from provisioning.join_code import SECRET_BYTES, JoinCode
from provisioning.server_names import lan_page_names
from provisioning.trust import der

INVITATION_MS = 7 * 24 * 3600 * 1000

_SCHOOL_NAME_MAX = 200
_BOX_ID_TRIES = 8


class EnrolmentDesk:
    """Decides who becomes a box of the district.

    A code's secret is kept as its hash only. The code is bound to the first keys it comes with:
    the same keys get the same certificate as often as they ask, other keys never get one.
    ``now_ms`` is the hub's wall clock; ``host`` and ``port`` are what codes tell boxes to call.
    """

    def __init__(
        self,
        *,
        authority: Authority,
        hub: HubIdentity,
        invitations: InvitationStore,
        host: str,
        port: int,
        now_ms: Callable[[], int],
    ) -> None:
        if host.lower() not in {name.lower() for name in hub.names}:
            raise SetupError(
                f"join codes would name {host}, which the hub's certificate does not; "
                f"use one of {', '.join(hub.names)} or add the name"
            )
        self._authority = authority
        self._hub = hub
        self._invitations = invitations
        self._host = host.lower()
        self._port = port
        self._now_ms = now_ms
        self._limit = AttemptLimit()

    def authority_pem(self) -> bytes:
        """Return what an unenrolled box fetches and compares with its code."""
        return self._authority.trust.pem()

    def hub_renewed(self, hub: HubIdentity) -> None:
        """Hand out this identity's certificate from now on."""
        self._hub = hub

    def invite(self, *, school: int, school_name: str, valid_ms: int = INVITATION_MS) -> JoinCode:
        """Return a new join code for one box of a school; its secret exists nowhere else."""
        if not 0 < school <= SCHOOL_MAX:
            raise SetupError(f"school {school}: schools are numbered 1 to {SCHOOL_MAX}")
        if not _is_plain(school_name):
            raise SetupError("a school's name is 1 to 200 characters on one line")
        now_ms = self._now_ms()
        secret = secrets.token_bytes(SECRET_BYTES)
        for _ in range(_BOX_ID_TRIES):
            box = secrets.token_hex(4)
            invitation = Invitation(
                box=box,
                secret_sha256=hashlib.sha256(secret).digest(),
                school=school,
                school_name=school_name,
                created_ms=now_ms,
                expires_ms=now_ms + valid_ms,
            )
            if self._invitations.add(invitation):
                return JoinCode(
                    host=self._host,
                    port=self._port,
                    root_pin=self._authority.trust.root_pin(),
                    box=box,
                    secret=secret,
                )
        raise SetupError(f"{_BOX_ID_TRIES} random box ids are all taken; check the store")

    def withdraw(self, box: str) -> None:
        """Make an unused code worthless; a box already enrolled is revoked by the deny-list."""
        if self._invitations.withdraw(box, self._now_ms()) is None:
            raise SetupError(f"box {box[:16]!r}: there is no such invitation; list them")

    def enrol(self, body: bytes, source: str) -> bytes:
        """Return the answer to one request that came from the address ``source``.

        Raises RefusedError. A wrong secret and an unknown code are the same refusal; all others
        are told only to who knows the secret.
        """
        now_ms = self._now_ms()
        self._limit.admit(source, now_ms)
        try:
            request = decode(body, EnrolmentRequest)
            invitation = self._known(request)
        except ProtocolError as error:
            self._limit.count_wrong(source, now_ms)
            raise RefusedError(Refusal.MALFORMED) from error
        except RefusedError:
            self._limit.count_wrong(source, now_ms)
            raise
        return encode(self._answer(invitation, request.keys, now_ms))

    def renew(self, box: Binding, body: bytes) -> bytes:
        """Return new certificates for a box that showed ``box`` on this connection.

        Name, signing and sealing keys stay as they are. Raises RefusedError.
        """
        try:
            request = decode(body, KeyRequest)
        except ProtocolError as error:
            raise RefusedError(Refusal.MALFORMED) from error
        tls_key, keys, page_key = check_key_request(request)
        if keys != box.keys:
            raise RefusedError(Refusal.TOO_MUCH, "a renewal keeps its signing and sealing keys")
        now_ms = self._now_ms()
        certificate = self._authority.issue_box(
            school=box.school, box=box.box, tls_key=tls_key, keys=keys, now_ms=now_ms
        )
        return encode(self._certificates(der(certificate), box.school, page_key, request, now_ms))

    def _known(self, request: EnrolmentRequest) -> Invitation:
        invitation = self._invitations.find(request.box)
        given = hashlib.sha256(request.secret).digest()
        stored = bytes(len(given)) if invitation is None else invitation.secret_sha256
        if not hmac.compare_digest(given, stored) or invitation is None:
            raise RefusedError(Refusal.UNKNOWN_CODE)
        return invitation

    def _answer(self, invitation: Invitation, request: KeyRequest, now_ms: int) -> EnrolmentAnswer:
        # The request is judged whole before it is bound: a bad one never burns the code.
        tls_key, keys, page_key = check_key_request(request)
        self._page_names(invitation.school, request)
        key_sha256 = _fingerprint(tls_key, keys)
        if invitation.withdrawn_ms is not None:
            raise RefusedError(Refusal.WITHDRAWN)
        if invitation.key_sha256 is None and now_ms >= invitation.expires_ms:
            raise RefusedError(Refusal.EXPIRED)
        bound = _present(self._invitations.bind(invitation.box, key_sha256, now_ms))
        if bound.key_sha256 != key_sha256:
            raise RefusedError(Refusal.REUSED)
        certificate = bound.certificate or self._settle(bound, tls_key, keys, now_ms)
        if milliseconds(read_certificate(certificate).not_valid_after_utc) <= now_ms:
            raise RefusedError(Refusal.EXPIRED)
        return EnrolmentAnswer(
            school=bound.school,
            school_name=bound.school_name,
            certificates=self._certificates(certificate, bound.school, page_key, request, now_ms),
        )

    def _settle(
        self,
        invitation: Invitation,
        tls_key: ec.EllipticCurvePublicKey,
        keys: BoundKeys,
        now_ms: int,
    ) -> bytes:
        certificate = self._authority.issue_box(
            school=invitation.school,
            box=invitation.box,
            tls_key=tls_key,
            keys=keys,
            now_ms=now_ms,
        )
        settled = _present(self._invitations.settle(invitation.box, der(certificate)))
        return settled.certificate or der(certificate)

    def _certificates(
        self,
        box_certificate: bytes,
        school: int,
        page_key: ec.EllipticCurvePublicKey,
        request: KeyRequest,
        now_ms: int,
    ) -> RenewalAnswer:
        page = self._authority.issue_page(
            school=school,
            names=self._page_names(school, request),
            tls_key=page_key,
            now_ms=now_ms,
        )
        return RenewalAnswer(
            box_certificate=box_certificate,
            page_certificate=der(page),
            hub_certificate=der(self._hub.certificate),
            now_ms=now_ms,
        )

    def _page_names(self, school: int, request: KeyRequest) -> list[x509.GeneralName]:
        return lan_page_names(
            request.lan_names,
            district=self._authority.trust.district,
            school=school,
            hub=self._hub.names,
        )


def _present(invitation: Invitation | None) -> Invitation:
    """Return the row; one that vanished between two statements is no longer known."""
    if invitation is None:
        raise RefusedError(Refusal.UNKNOWN_CODE)
    return invitation


def _fingerprint(tls_key: ec.EllipticCurvePublicKey, keys: BoundKeys) -> bytes:
    """Return SHA-256 over all three public keys: the code is bound to the whole box."""
    info = tls_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info + keys.signing + keys.sealing).digest()


def _is_plain(name: str) -> bool:
    controls = any(unicodedata.category(character).startswith("C") for character in name)
    return 0 < len(name) <= _SCHOOL_NAME_MAX and not controls and bool(name.strip())
