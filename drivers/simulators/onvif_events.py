"""A simulated camera's events: pull points that wait, are renewed, and end by themselves.

Bodies follow the schemas of ONVIF ver10/events and OASIS WS-BaseNotification 1.3.
"""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from drivers.codecs.guarded_xml import Element, escape
from drivers.entities import NowMs
from drivers.simulators.ledger import Ledger
from drivers.simulators.onvif_faults import FaultError, HungUpError
from drivers.simulators.onvif_habits import USUAL, CameraHabits
from drivers.simulators.onvif_persona import Notice

SUBSCRIPTIONS_MAX = 10  # cameras have room for about so many
QUEUE_MAX = 100
LIFETIME_S = 60
"""Of a subscription for which no time was asked."""
WAIT_S_MAX = 60.0
LONG_PULL_S = 10.0
"""What a camera that ends long pulls calls long."""
MOTION_TOPIC = "tns1:RuleEngine/CellMotionDetector/Motion"
MOTION = Notice(
    topic=MOTION_TOPIC,
    source=(("VideoSourceConfigurationToken", "video-source-configuration"),),
    item="IsMotion",
)
SUBSCRIPTION_HEADER = "SubscriptionId"
_NAMESPACE = "urn:schoolnode:simulated-camera"
_OF_A_SUBSCRIPTION = frozenset({"PullMessages", "Renew", "Unsubscribe"})
_DURATION = re.compile(r"PT(\d{1,6})S")
_DIALECT = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"
_ITEMS = "http://www.onvif.org/ver10/tev/messageContentFilter/ItemFilter"


@dataclass(slots=True)
class _Subscription:
    ends_ms: int
    waiting: deque[str] = field(default_factory=lambda: deque(maxlen=QUEUE_MAX))
    some: asyncio.Event = field(default_factory=asyncio.Event)


class EventService:
    """Takes subscriptions and tells each of them what happens from then on.

    None lasts longer than ``habits`` says unless it is renewed, whatever was asked. A camera that
    ends long pulls does so after ``hang_up_s``.
    """

    def __init__(
        self, base: str, ledger: Ledger, now_ms: NowMs, habits: CameraHabits = USUAL
    ) -> None:
        self._address = f"{base}/onvif/subscription"
        self._ledger = ledger
        self.now_ms = now_ms
        self.hang_up_s = LONG_PULL_S
        self._lifetime_s_max = habits.lifetime_s_max
        self._quirks = habits.quirks
        self._notices = habits.persona.notices if habits.persona is not None else (MOTION,)
        self._room = 1 if "one_subscription" in self._quirks else SUBSCRIPTIONS_MAX
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
            self._tell(subscription, "Changed")

    async def answer(self, operation: Element, envelope: Element) -> str:
        """Answer an operation of the events service or of a subscription.

        Raises FaultError, and HungUpError when the connection ends without an answer.
        """
        if operation.local in _OF_A_SUBSCRIPTION and "wants_addressing" in self._quirks:
            _check_addressing(envelope)
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
                    f"</wsnt:TerminationTime><wsnt:CurrentTime>{_utc(self.now_ms())}"
                    "</wsnt:CurrentTime></wsnt:RenewResponse>"
                )
            case "Unsubscribe":
                self._of(envelope).some.set()
                del self._subscriptions[self._id(envelope)]
                self._ledger.write("unsubscribed")
                return "<wsnt:UnsubscribeResponse/>"
            case "SetSynchronizationPoint":
                subscription = self._of(envelope)
                self._tell(subscription, "Initialized")
                return "<tev:SetSynchronizationPointResponse/>"
            case "GetEventProperties":
                return event_properties(self._notices)
            case _:
                raise FaultError("ActionNotSupported", f"{operation.local} is not supported")

    def _subscribe(self, lifetime: str) -> str:
        now_ms = self.now_ms()
        self._subscriptions = {
            known: each for known, each in self._subscriptions.items() if each.ends_ms > now_ms
        }
        if len(self._subscriptions) >= self._room:
            raise FaultError("Action", "no room for another subscription")
        self._number += 1
        subscription = _Subscription(ends_ms=self._end(lifetime))
        self._tell(subscription, "Initialized")
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
        is_too_long = "ends_long_pulls" in self._quirks and wait_s >= LONG_PULL_S
        self._ledger.write("pulls", wait_s=wait_s)
        wait_s = self.hang_up_s if is_too_long else wait_s
        try:
            async with asyncio.timeout(wait_s):
                await subscription.some.wait()
        except TimeoutError as error:
            if is_too_long:
                raise HungUpError from error
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
            f"<tev:PullMessagesResponse><tev:CurrentTime>{_utc(self.now_ms())}</tev:CurrentTime>"
            f"<tev:TerminationTime>{_utc(subscription.ends_ms)}</tev:TerminationTime>"
            f"{''.join(told)}</tev:PullMessagesResponse>"
        )

    def _tell(self, subscription: _Subscription, operation: str) -> None:
        for notice in self._notices:
            subscription.waiting.append(
                notification(
                    notice.topic,
                    operation,
                    at_ms=self.now_ms(),
                    source=dict(notice.source),
                    data={notice.item: notice.on if self._motion else notice.off},
                    namespaces=notice.namespaces,
                )
            )
        subscription.some.set()

    def _id(self, envelope: Element) -> str:
        return envelope.first_text(SUBSCRIPTION_HEADER)

    def _of(self, envelope: Element) -> _Subscription:
        subscription = self._subscriptions.get(self._id(envelope))
        if subscription is None or subscription.ends_ms < self.now_ms():
            raise FaultError("InvalidArgVal", "no such subscription")
        return subscription

    def _end(self, lifetime: str) -> int:
        found = _DURATION.fullmatch(lifetime)
        return self.now_ms() + 1000 * min(
            int(found[1]) if found else LIFETIME_S, self._lifetime_s_max
        )


def _check_addressing(envelope: Element) -> None:
    if any(not envelope.first_text(name) for name in ("To", "Action", "MessageID")):
        raise FaultError("InvalidArgVal", "a header of WS-Addressing is missing")


def notification(
    topic: str,
    operation: str,
    *,
    at_ms: int,
    source: dict[str, str],
    data: dict[str, str],
    namespaces: str = "",
) -> str:
    """Return one NotificationMessage; ``namespaces`` declare the topic's prefixes."""

    def items(values: dict[str, str]) -> str:
        return "".join(
            f'<tt:SimpleItem Name="{escape(name)}" Value="{escape(value)}"/>'
            for name, value in values.items()
        )

    return (
        f'<wsnt:NotificationMessage><wsnt:Topic Dialect="{_DIALECT}"{namespaces}>{topic}'
        "</wsnt:Topic>"
        f'<wsnt:Message><tt:Message UtcTime="{_utc(at_ms)}" PropertyOperation="{operation}">'
        f"<tt:Source>{items(source)}</tt:Source><tt:Data>{items(data)}</tt:Data>"
        "</tt:Message></wsnt:Message></wsnt:NotificationMessage>"
    )


def event_properties(notices: Sequence[Notice] = (MOTION,)) -> str:
    return (
        "<tev:GetEventPropertiesResponse>"
        "<tev:TopicNamespaceLocation>http://www.onvif.org/onvif/ver10/topics/topicns.xml"
        "</tev:TopicNamespaceLocation><wsnt:FixedTopicSet>true</wsnt:FixedTopicSet>"
        f"<wstop:TopicSet>{''.join(_described(notice) for notice in notices)}</wstop:TopicSet>"
        f"<wsnt:TopicExpressionDialect>{_DIALECT}</wsnt:TopicExpressionDialect>"
        f"<tev:MessageContentFilterDialect>{_ITEMS}</tev:MessageContentFilterDialect>"
        "<tev:MessageContentSchemaLocation>http://www.onvif.org/onvif/ver10/schema/onvif.xsd"
        "</tev:MessageContentSchemaLocation></tev:GetEventPropertiesResponse>"
    )


def _described(notice: Notice) -> str:
    """Return a notice's topic as elements within each other, the last one with what it tells."""
    first, *between, last = notice.topic.split("/")
    source = "".join(
        f'<tt:SimpleItemDescription Name="{escape(name)}" Type="tt:ReferenceToken"/>'
        for name, _ in notice.source
    )
    opened = "".join(f"<{step}>" for step in between)
    closed = "".join(f"</{step}>" for step in reversed(between))
    return (
        f'<{first}{notice.namespaces}>{opened}<{last} wstop:topic="true">'
        f'<tt:MessageDescription IsProperty="true"><tt:Source>{source}</tt:Source><tt:Data>'
        f'<tt:SimpleItemDescription Name="{escape(notice.item)}" Type="xs:boolean"/></tt:Data>'
        f"</tt:MessageDescription></{last}>{closed}</{first}>"
    )


def _utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
