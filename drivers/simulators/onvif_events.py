"""A simulated camera's events: pull points that wait, are renewed, and end by themselves.

Bodies follow the schemas of ONVIF ver10/events and OASIS WS-BaseNotification 1.3.
"""

import asyncio
import re
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from drivers.codecs.guarded_xml import Element, escape
from drivers.entities import NowMs
from drivers.simulators.ledger import Ledger
from drivers.simulators.onvif_faults import FaultError

SUBSCRIPTIONS_MAX = 10  # cameras have room for about so many
QUEUE_MAX = 100
LIFETIME_S_MAX = 3_600
WAIT_S_MAX = 60.0
MOTION_TOPIC = "tns1:RuleEngine/CellMotionDetector/Motion"
SUBSCRIPTION_HEADER = "SubscriptionId"
_NAMESPACE = "urn:schoolnode:simulated-camera"
_DURATION = re.compile(r"PT(\d{1,6})S")
_DIALECT = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"
_ITEMS = "http://www.onvif.org/ver10/tev/messageContentFilter/ItemFilter"


@dataclass(slots=True)
class _Subscription:
    ends_ms: int
    waiting: deque[str] = field(default_factory=lambda: deque(maxlen=QUEUE_MAX))
    some: asyncio.Event = field(default_factory=asyncio.Event)


class EventService:
    """Takes subscriptions and tells each of them what happens from then on."""

    def __init__(self, base: str, ledger: Ledger, now_ms: NowMs) -> None:
        self._address = f"{base}/onvif/subscription"
        self._ledger = ledger
        self._now_ms = now_ms
        self._subscriptions: dict[str, _Subscription] = {}
        self._motion = False
        self._number = 0

    def restart(self) -> None:
        """Forget every subscription, as a camera does that loses its power."""
        self._subscriptions.clear()

    def set_motion(self, motion: bool) -> None:  # noqa: FBT001 — the state itself
        """Something moves before the camera, or no longer."""
        self._motion = motion
        for subscription in self._subscriptions.values():
            subscription.waiting.append(self._message("Changed"))
            subscription.some.set()

    async def answer(self, operation: Element, envelope: Element) -> str:
        """Answer an operation of the events service or of a subscription."""
        match operation.local:
            case "CreatePullPointSubscription":
                return self._subscribe(operation.first_text("InitialTerminationTime"))
            case "PullMessages":
                return await self._pull(self._of(envelope), operation)
            case "Renew":
                subscription = self._of(envelope)
                subscription.ends_ms = self._end(operation.first_text("TerminationTime"))
                self._ledger.write("renewed")
                return (
                    f"<wsnt:RenewResponse><wsnt:TerminationTime>{_utc(subscription.ends_ms)}"
                    f"</wsnt:TerminationTime><wsnt:CurrentTime>{_utc(self._now_ms())}"
                    "</wsnt:CurrentTime></wsnt:RenewResponse>"
                )
            case "Unsubscribe":
                self._of(envelope).some.set()
                del self._subscriptions[self._id(envelope)]
                self._ledger.write("unsubscribed")
                return "<wsnt:UnsubscribeResponse/>"
            case "SetSynchronizationPoint":
                subscription = self._of(envelope)
                subscription.waiting.append(self._message("Initialized"))
                subscription.some.set()
                return "<tev:SetSynchronizationPointResponse/>"
            case "GetEventProperties":
                return event_properties()
            case _:
                raise FaultError("ActionNotSupported", f"{operation.local} is not supported")

    def _subscribe(self, lifetime: str) -> str:
        now_ms = self._now_ms()
        self._subscriptions = {
            known: each for known, each in self._subscriptions.items() if each.ends_ms > now_ms
        }
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            raise FaultError("Action", "no room for another subscription")
        self._number += 1
        subscription = _Subscription(ends_ms=self._end(lifetime))
        subscription.waiting.append(self._message("Initialized"))
        subscription.some.set()
        self._subscriptions[str(self._number)] = subscription
        self._ledger.write("subscribed", subscription=self._number)
        return (
            "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference>"
            f"<wsa:Address>{self._address}</wsa:Address><wsa:ReferenceParameters>"
            f'<sim:{SUBSCRIPTION_HEADER} xmlns:sim="{_NAMESPACE}">{self._number}'
            f"</sim:{SUBSCRIPTION_HEADER}></wsa:ReferenceParameters>"
            "</tev:SubscriptionReference>"
            f"<wsnt:CurrentTime>{_utc(now_ms)}</wsnt:CurrentTime>"
            f"<wsnt:TerminationTime>{_utc(subscription.ends_ms)}</wsnt:TerminationTime>"
            "</tev:CreatePullPointSubscriptionResponse>"
        )

    async def _pull(self, subscription: _Subscription, operation: Element) -> str:
        found = _DURATION.fullmatch(operation.first_text("Timeout"))
        wait_s = min(float(found[1]), WAIT_S_MAX) if found else 0.0
        try:
            async with asyncio.timeout(wait_s):
                await subscription.some.wait()
        except TimeoutError:
            pass
        if subscription not in self._subscriptions.values():
            raise FaultError("InvalidArgVal", "the subscription is over")
        subscription.some.clear()
        limit = operation.first_text("MessageLimit")
        count = min(int(limit) if limit.isdecimal() else 1, len(subscription.waiting))
        told = [subscription.waiting.popleft() for _ in range(count)]
        if subscription.waiting:
            subscription.some.set()
        self._ledger.write("pulled", events=len(told))
        return (
            f"<tev:PullMessagesResponse><tev:CurrentTime>{_utc(self._now_ms())}</tev:CurrentTime>"
            f"<tev:TerminationTime>{_utc(subscription.ends_ms)}</tev:TerminationTime>"
            f"{''.join(told)}</tev:PullMessagesResponse>"
        )

    def _message(self, operation: str) -> str:
        return notification(
            MOTION_TOPIC,
            operation,
            at_ms=self._now_ms(),
            source={"VideoSourceConfigurationToken": "video-source-configuration"},
            data={"IsMotion": "true" if self._motion else "false"},
        )

    def _id(self, envelope: Element) -> str:
        return envelope.first_text(SUBSCRIPTION_HEADER)

    def _of(self, envelope: Element) -> _Subscription:
        subscription = self._subscriptions.get(self._id(envelope))
        if subscription is None or subscription.ends_ms < self._now_ms():
            raise FaultError("InvalidArgVal", "no such subscription")
        return subscription

    def _end(self, lifetime: str) -> int:
        found = _DURATION.fullmatch(lifetime)
        return self._now_ms() + 1000 * min(int(found[1]) if found else 60, LIFETIME_S_MAX)


def notification(
    topic: str, operation: str, *, at_ms: int, source: dict[str, str], data: dict[str, str]
) -> str:
    """Return one NotificationMessage."""

    def items(values: dict[str, str]) -> str:
        return "".join(
            f'<tt:SimpleItem Name="{escape(name)}" Value="{escape(value)}"/>'
            for name, value in values.items()
        )

    return (
        f'<wsnt:NotificationMessage><wsnt:Topic Dialect="{_DIALECT}">{topic}</wsnt:Topic>'
        f'<wsnt:Message><tt:Message UtcTime="{_utc(at_ms)}" PropertyOperation="{operation}">'
        f"<tt:Source>{items(source)}</tt:Source><tt:Data>{items(data)}</tt:Data>"
        "</tt:Message></wsnt:Message></wsnt:NotificationMessage>"
    )


def event_properties() -> str:
    return (
        "<tev:GetEventPropertiesResponse>"
        "<tev:TopicNamespaceLocation>http://www.onvif.org/onvif/ver10/topics/topicns.xml"
        "</tev:TopicNamespaceLocation><wsnt:FixedTopicSet>true</wsnt:FixedTopicSet>"
        "<wstop:TopicSet><tns1:RuleEngine><CellMotionDetector>"
        '<Motion wstop:topic="true"><tt:MessageDescription IsProperty="true"><tt:Source>'
        '<tt:SimpleItemDescription Name="VideoSourceConfigurationToken" Type="tt:ReferenceToken"/>'
        '</tt:Source><tt:Data><tt:SimpleItemDescription Name="IsMotion" Type="xs:boolean"/>'
        "</tt:Data></tt:MessageDescription></Motion></CellMotionDetector></tns1:RuleEngine>"
        "</wstop:TopicSet>"
        f"<wsnt:TopicExpressionDialect>{_DIALECT}</wsnt:TopicExpressionDialect>"
        f"<tev:MessageContentFilterDialect>{_ITEMS}</tev:MessageContentFilterDialect>"
        "<tev:MessageContentSchemaLocation>http://www.onvif.org/onvif/ver10/schema/onvif.xsd"
        "</tev:MessageContentSchemaLocation></tev:GetEventPropertiesResponse>"
    )


def _utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
