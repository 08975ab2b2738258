"""One camera's event subscription: made when first pulled, renewed in time, ended at the end.

Runs in the worker process only. The messages are :mod:`drivers.codecs.pull_point`'s, not zeep's.
"""

import asyncio
import secrets
import uuid
from collections.abc import Callable
from contextlib import suppress

import aiohttp

from drivers.cameras.messages import CameraAccess
from drivers.cameras.onvif_services import REQUEST_S, OnvifServices
from drivers.cameras.pinned_http import check_login, fetch, pin
from drivers.codecs import pull_point
from drivers.codecs.guarded_xml import Element, ForbiddenXmlError, parse_leniently, parse_strictly
from drivers.codecs.pull_point import Pulled, Signature, Subscription
from drivers.entities import NowMs
from drivers.errors import DriverError, LoginRefusedError, ProtocolError, RefusedError

LIFETIME_S = 300
"""A subscription that nobody renews is over after this; cameras have room for a few only."""
LIFETIME_ALONE_S = 60
"""The same of a camera with room for one: what a box that lost its power left there ends soon."""
PULL_SHORT_S = 8
"""How long a pull waits at a camera that hangs up after ten seconds."""
RENEW_S = 120.0
RENEW_MIN_S = 1.0
REPLY_BYTES_MAX = 256 * 1024
_SOAP = "application/soap+xml; charset=utf-8"


class EventWatch:
    """Pulls one camera's events; one call at a time."""

    def __init__(
        self,
        access: CameraAccess,
        services: OnvifServices,
        http: aiohttp.ClientSession,
        now_ms: NowMs,
    ) -> None:
        self._access = access
        self._services = services
        self._http = http
        self._now_ms = now_ms
        self._lifetime_s = LIFETIME_ALONE_S if "one_subscription" in access.quirks else LIFETIME_S
        self._subscription: Subscription | None = None
        self._renew_at_s = 0.0
        self._busy = asyncio.Lock()

    async def pull(self, wait_s: int) -> tuple[Pulled, bool]:
        """Return what happened, after ``wait_s`` at the latest, and whether it subscribed anew.

        After any error the next call subscribes anew. Raises UnreachableError, RefusedError (no
        event service, fault), LoginRefusedError, ProtocolError.
        """
        async with self._busy:
            is_new = self._subscription is None
            try:
                pulled = await self._pull(wait_s)
            except BaseException:
                self._subscription = None
                raise
            return pulled, is_new

    async def end(self) -> None:
        """Unsubscribe, so that the camera has room for another; errors end it as well."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        with suppress(DriverError):
            answer = await self._ask(
                subscription.address,
                lambda signature: pull_point.unsubscribe_request(
                    subscription, _message_id(), signature
                ),
                REQUEST_S,
            )
            pull_point.parse_unsubscribed(answer)

    async def _pull(self, wait_s: int) -> Pulled:
        """Pull; no longer than until the subscription must be renewed."""
        subscription = self._subscription or await self._subscribe()
        self._subscription = subscription
        loop = asyncio.get_running_loop()
        if loop.time() >= self._renew_at_s:
            await self._renew(subscription)
        wait_s = min(wait_s, max(1, int(self._renew_at_s - loop.time())))
        if "ends_long_pulls" in self._access.quirks:
            wait_s = min(wait_s, PULL_SHORT_S)
        answer = await self._ask(
            subscription.address,
            lambda signature: pull_point.pull_request(
                subscription, wait_s, _message_id(), signature
            ),
            wait_s + REQUEST_S,
        )
        return pull_point.parse_pulled(answer)

    async def _subscribe(self) -> Subscription:
        address = self._services.xaddrs.get("events")
        if address is None:
            raise RefusedError(f"camera {self._services.host}: offers no events service")
        answer = await self._ask(
            address,
            lambda signature: pull_point.subscribe_request(self._lifetime_s, signature),
            REQUEST_S,
        )
        told = pull_point.parse_subscription(answer)
        pin(told.address, self._services.host, "event subscription")
        self._granted(told.lifetime_s)
        return told

    async def _renew(self, subscription: Subscription) -> None:
        answer = await self._ask(
            subscription.address,
            lambda signature: pull_point.renew_request(
                subscription, self._lifetime_s, _message_id(), signature
            ),
            REQUEST_S,
        )
        # Who does not tell again grants what it granted first.
        self._granted(pull_point.parse_renewed(answer) or subscription.lifetime_s)

    def _granted(self, lifetime_s: float | None) -> None:
        """Note how long the subscription lasts; who tells nothing grants what was asked."""
        self._renew_at_s = asyncio.get_running_loop().time() + renew_after_s(
            lifetime_s or self._lifetime_s
        )

    async def _ask(
        self, address: str, build: Callable[[Signature | None], bytes], timeout_s: float
    ) -> Element:
        host = self._services.host
        answer = await fetch(
            self._http,
            ("POST", pin(address, host, "event service"), build(self._signature())),
            content_type=_SOAP,
            size_max=REPLY_BYTES_MAX,
            timeout_s=timeout_s,
            middlewares=self._services.middlewares,
        )
        check_login(answer, self._access)
        envelope = _parsed(answer.body)
        fault = pull_point.fault_of(envelope)
        if fault is not None:
            # Cameras have many words for it, as onvif.util.is_auth_error knows too.
            family = LoginRefusedError if "auth" in fault.lower() else RefusedError
            raise family(f"camera {host}: events refused ({fault})")
        return envelope

    def _signature(self) -> Signature | None:
        if self._access.credentials is None:
            return None
        return Signature(
            credentials=self._access.credentials,
            nonce=secrets.token_bytes(16),
            created_ms=self._now_ms() + (self._services.offset_ms or 0),
        )


def renew_after_s(lifetime_s: float) -> float:
    """Return when to renew what a camera granted: at half of it, ``RENEW_S`` at the latest."""
    return min(max(lifetime_s / 2, RENEW_MIN_S), RENEW_S)


def _parsed(body: bytes) -> Element:
    try:
        return parse_strictly(body, size_max=REPLY_BYTES_MAX)
    except ForbiddenXmlError:
        raise
    except ProtocolError:
        return parse_leniently(body, size_max=REPLY_BYTES_MAX)


def _message_id() -> str:
    return uuid.UUID(bytes=secrets.token_bytes(16), version=4).urn
