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
from drivers.cameras.pinned_http import fetch, pin, wrong_password
from drivers.codecs import pull_point
from drivers.codecs.guarded_xml import Element, ForbiddenXmlError, parse_leniently, parse_strictly
from drivers.codecs.pull_point import Pulled, Signature, Subscription
from drivers.entities import NowMs
from drivers.errors import DriverError, ProtocolError, RefusedError

LIFETIME_S = 300
"""A subscription that nobody renews is over after this; cameras have room for a few only."""
RENEW_S = 120
REPLY_BYTES_MAX = 256 * 1024
_HTTP_UNAUTHORISED = 401
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
        self._subscription: Subscription | None = None
        self._renew_at_s = 0.0
        self._busy = asyncio.Lock()

    async def pull(self, wait_s: int) -> tuple[Pulled, bool]:
        """Return what happened, after ``wait_s`` at the latest, and whether it subscribed anew.

        After any error the next call subscribes anew. Raises UnreachableError, RefusedError (no
        event service, wrong password, fault), ProtocolError.
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
            pull_point.parse_done(answer, "Unsubscribe")

    async def _pull(self, wait_s: int) -> Pulled:
        subscription = self._subscription or await self._subscribe()
        self._subscription = subscription
        if asyncio.get_running_loop().time() >= self._renew_at_s:
            await self._renew(subscription)
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
            lambda signature: pull_point.subscribe_request(LIFETIME_S, signature),
            REQUEST_S,
        )
        told = pull_point.parse_subscription(answer)
        pin(told.address, self._services.host, "event subscription")
        self._renew_at_s = asyncio.get_running_loop().time() + RENEW_S
        return told

    async def _renew(self, subscription: Subscription) -> None:
        answer = await self._ask(
            subscription.address,
            lambda signature: pull_point.renew_request(
                subscription, LIFETIME_S, _message_id(), signature
            ),
            REQUEST_S,
        )
        pull_point.parse_done(answer, "Renew")
        self._renew_at_s = asyncio.get_running_loop().time() + RENEW_S

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
        if answer.status == _HTTP_UNAUTHORISED:
            raise RefusedError(wrong_password(host, answer.challenge))
        envelope = _parsed(answer.body)
        fault = pull_point.fault_of(envelope)
        if fault is not None:
            raise RefusedError(f"camera {host}: events refused ({fault})")
        return envelope

    def _signature(self) -> Signature | None:
        if self._access.credentials is None:
            return None
        return Signature(
            credentials=self._access.credentials,
            nonce=secrets.token_bytes(16),
            created_ms=self._now_ms() + (self._services.offset_ms or 0),
        )


def _parsed(body: bytes) -> Element:
    try:
        return parse_strictly(body, size_max=REPLY_BYTES_MAX)
    except ForbiddenXmlError:
        raise
    except ProtocolError:
        return parse_leniently(body, size_max=REPLY_BYTES_MAX)


def _message_id() -> str:
    return uuid.UUID(bytes=secrets.token_bytes(16), version=4).urn
