"""The box's certificates as its servers and clients load them, renewed in time."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Never

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from provisioning.errors import ProvisioningError
from provisioning.identity import Identity
from provisioning.renewal import is_renewal_due, renew
from provisioning.tls import box_client_context, pages_context

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 3600.0
RETRY_FIRST_S = 5.0
RETRY_MAX_S = 600.0


class Certificates:
    """Two contexts that last as long as the daemon; a renewal reloads them in place.

    Connections made before go on under the certificate they began with.
    """

    def __init__(
        self,
        identity: Identity,
        lan_names: Sequence[str],
        now_ms: Callable[[], int],
        rng: random.Random,
    ) -> None:
        """``lan_names`` are what the renewed page certificate is to carry."""
        self.identity = identity
        self.hub_context = box_client_context(identity, now_ms)
        self.pages_context = pages_context(identity.page_pem)
        self._lan_names = lan_names
        self._now_ms = now_ms
        self._rng = rng

    async def run(self) -> Never:
        """Renew at a third of a certificate's life, until cancelled."""
        while True:
            async for attempt in AsyncRetrying(
                wait=wait_random_exponential(multiplier=RETRY_FIRST_S, max=RETRY_MAX_S),
                retry=retry_if_exception_type(ProvisioningError),
                before_sleep=self._note_failure,
            ):
                with attempt:
                    await self.renew_if_due()
            await asyncio.sleep(LOOK_EVERY_S * self._rng.uniform(0.9, 1.1))

    async def renew_if_due(self) -> None:
        """Renew once; raises ProvisioningError when the hub does not, and all stays as it was."""
        if not is_renewal_due(self.identity, self._now_ms()):
            return
        self.identity = await renew(self.identity, lan_names=self._lan_names, now_ms=self._now_ms)
        self.hub_context.load_cert_chain(self.identity.tls_pem)
        self.pages_context.load_cert_chain(self.identity.page_pem)
        _log.info("the box's certificates are renewed")

    def _note_failure(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        days = (self.identity.binding.not_after_ms - self._now_ms()) / 86_400_000
        _log.warning(
            "the box's certificates are not renewed (%s); they are good for %.0f days", error, days
        )
