"""Who calls the hub: the box behind a certificate, judged again at each request."""

from collections.abc import Callable, Container
from functools import lru_cache

from provisioning.certificates import Binding, milliseconds, read_certificate
from provisioning.errors import ImpostorError, ProtocolError, Refusal, RefusedError
from provisioning.trust import DistrictTrust

RENEWAL_GRACE_MS = 180 * 24 * 3600 * 1000

_REMEMBERED_MAX = 16_384


class BoxGate:
    """Lets the district's boxes through.

    ``denied`` holds the ids of revoked boxes and is asked at each call, so it may change at any
    time; a denied id covers every certificate the box ever had.
    """

    def __init__(
        self, trust: DistrictTrust, *, denied: Container[str], now_ms: Callable[[], int]
    ) -> None:
        self._trust = trust
        self._denied = denied
        self._now_ms = now_ms
        # A signature check a request would cost more than the rest of the request.
        self._read = lru_cache(maxsize=_REMEMBERED_MAX)(self._binding)

    def admit(self, certificate: bytes | None) -> Binding:
        """Return who showed this DER certificate.

        Raises RefusedError: NO_CERTIFICATE, NOT_A_BOX (a server's certificate, another district's
        box), CERTIFICATE_EXPIRED or REVOKED.
        """
        box = self._known(certificate)
        self.check(box)
        return box

    def admit_to_renew(self, certificate: bytes | None) -> Binding:
        """Return who showed this certificate, up to 180 days after it expired.

        For renewal only: the handshake has just proven the old key over fresh randomness, and the
        deny-list covers boxes lost in the meantime.
        """
        box = self._known(certificate)
        self._check(box, grace_ms=RENEWAL_GRACE_MS)
        return box

    def check(self, box: Binding) -> None:
        """Raise RefusedError when a box let through before may not stay: expired or revoked.

        For connections that outlive a request; call it at least every 5 s for each of them.
        """
        self._check(box, grace_ms=0)

    def _check(self, box: Binding, *, grace_ms: int) -> None:
        if box.box in self._denied:
            raise RefusedError(Refusal.REVOKED)
        authority_ms = milliseconds(self._trust.boxes.not_valid_after_utc)
        if self._now_ms() >= min(box.not_after_ms + grace_ms, authority_ms):
            raise RefusedError(Refusal.CERTIFICATE_EXPIRED)

    def _known(self, certificate: bytes | None) -> Binding:
        if certificate is None:
            raise RefusedError(Refusal.NO_CERTIFICATE)
        return self._read(certificate)

    def _binding(self, certificate: bytes) -> Binding:
        try:
            return self._trust.box_binding(read_certificate(certificate))
        except (ProtocolError, ImpostorError) as error:
            raise RefusedError(Refusal.NOT_A_BOX, str(error)) from error
