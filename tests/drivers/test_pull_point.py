from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.cameras.event_watch import LIFETIME_S, RENEW_MIN_S, RENEW_S, renew_after_s
from drivers.codecs import pull_point
from drivers.codecs.digest import Credentials
from drivers.codecs.guarded_xml import Element, parse_leniently, parse_strictly
from drivers.codecs.pull_point import CameraEvent, Signature, Subscription
from drivers.errors import ProtocolError, RefusedError
from drivers.simulators import onvif_events, onvif_replies
from drivers.simulators.onvif_security import UsernameTokens

NOW_MS = 1_700_000_000_000
SIZE_MAX = 256 * 1024
CREDENTIALS = Credentials(user="admin", password="a<&>b")


def read(body: str) -> Element:
    return parse_strictly(onvif_replies.envelope(body).encode(), size_max=SIZE_MAX)


def pulled(notes: str) -> Element:
    return read(
        "<tev:PullMessagesResponse><tev:CurrentTime>2023-11-14T22:13:20Z</tev:CurrentTime>"
        f"<tev:TerminationTime>2023-11-14T22:14:20Z</tev:TerminationTime>{notes}"
        "</tev:PullMessagesResponse>"
    )


def test_an_event_is_read_with_its_state_source_and_time() -> None:
    note = onvif_events.notification(
        "tns1:RuleEngine/CellMotionDetector/Motion",
        "Changed",
        at_ms=NOW_MS,
        source={"Rule": "door"},
        data={"IsMotion": "true"},
    )
    told = pull_point.parse_pulled(pulled(note))
    assert told.camera_ms == NOW_MS
    assert told.events == (
        CameraEvent(
            topic="RuleEngine/CellMotionDetector/Motion",
            operation="Changed",
            at_ms=NOW_MS,
            source=(("Rule", "door"),),
            data=(("IsMotion", "true"),),
        ),
    )
    assert told.events[0].state is True


@pytest.mark.parametrize(
    ("value", "state"), [("1", True), ("0", False), ("False", False), ("7.5", None), ("", None)]
)
def test_a_state_is_what_reads_as_a_truth_value(value: str, state: bool | None) -> None:
    event = CameraEvent(topic="a", operation="", at_ms=None, data=(("State", value),))
    assert event.state is state


def test_an_answer_holds_no_more_events_than_were_asked_for() -> None:
    note = onvif_events.notification("a", "", at_ms=NOW_MS, source={}, data={})
    assert len(pull_point.parse_pulled(pulled(note * 80)).events) == pull_point.EVENTS_MAX


def test_a_subscriptions_parameters_come_back_as_headers() -> None:
    answer = read(
        "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference>"
        "<wsa:Address>http://127.0.65.31/sub</wsa:Address><wsa:ReferenceParameters>"
        '<m:Id xmlns:m="urn:maker" m:kind="a&quot;b">4 &lt; 5</m:Id>'
        "</wsa:ReferenceParameters></tev:SubscriptionReference>"
        "</tev:CreatePullPointSubscriptionResponse>"
    )
    subscription = pull_point.parse_subscription(answer)
    request = parse_strictly(
        pull_point.pull_request(subscription, 25, "urn:uuid:1", None), size_max=SIZE_MAX
    )
    header = request.first("Header")
    assert header is not None
    back = header.find("{urn:maker}Id")
    assert back is not None
    assert back.text == "4 < 5"
    assert back.attributes["{urn:maker}kind"] == 'a"b'
    assert header.first_text("To") == subscription.address == "http://127.0.65.31/sub"
    assert request.first_text("Timeout") == "PT25S"


@pytest.mark.parametrize(
    ("told", "lifetime_s"),
    [
        (("2026-11-22T08:00:00Z", "2026-11-22T08:01:30Z"), 90.0),
        (("2026-11-22T08:00:00Z", "2026-11-22T16:00:10+08:00"), 10.0),
        (("1970-01-01T00:00:00Z", "1970-01-01T00:00:02.500Z"), 2.5),
        (("2026-11-22T08:00:00Z", "2026-11-22T08:00:00Z"), None),
        (("2026-11-22T08:00:00Z", "2026-11-22T07:00:00Z"), None),
        (("", "2026-11-22T08:01:30Z"), None),
        (("2026-11-22T08:00:00Z", "in five minutes"), None),
    ],
)
def test_a_subscription_lasts_as_long_as_the_camera_grants(
    told: tuple[str, str], lifetime_s: float | None
) -> None:
    now, end = told
    times = (
        f"<wsnt:CurrentTime>{now}</wsnt:CurrentTime>"
        f"<wsnt:TerminationTime>{end}</wsnt:TerminationTime>"
    )
    subscribed = read(
        "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference>"
        "<wsa:Address>http://127.0.65.31/sub</wsa:Address></tev:SubscriptionReference>"
        f"{times}</tev:CreatePullPointSubscriptionResponse>"
    )
    assert pull_point.parse_subscription(subscribed).lifetime_s == lifetime_s
    assert pull_point.parse_renewed(read(f"<wsnt:RenewResponse>{times}</wsnt:RenewResponse>")) == (
        lifetime_s
    )


@given(st.floats(min_value=0.001, max_value=1e9))
def test_a_subscription_is_renewed_before_it_ends_and_not_all_the_time(lifetime_s: float) -> None:
    after_s = renew_after_s(lifetime_s)
    assert RENEW_MIN_S <= after_s <= RENEW_S < LIFETIME_S
    if lifetime_s > 2 * RENEW_MIN_S:
        assert after_s <= lifetime_s / 2


def test_a_signature_is_one_a_camera_takes() -> None:
    signature = Signature(credentials=CREDENTIALS, nonce=b"0123456789abcdef", created_ms=NOW_MS)
    request = parse_strictly(pull_point.subscribe_request(60, signature), size_max=SIZE_MAX)
    UsernameTokens(CREDENTIALS, lambda: NOW_MS).check(request)
    wrong = Credentials(user="admin", password="other")
    with pytest.raises(RefusedError, match="wrong password"):
        UsernameTokens(wrong, lambda: NOW_MS).check(request)


def test_a_fault_is_told_in_the_cameras_words() -> None:
    envelope = parse_strictly(
        onvif_replies.fault("NoToken", "no such preset").encode(), size_max=SIZE_MAX
    )
    assert pull_point.fault_of(envelope) == "s:Sender ter:NoToken no such preset"
    with pytest.raises(ProtocolError, match="no PullMessagesResponse"):
        pull_point.parse_pulled(envelope)


NAMES = [
    "Body",
    "PullMessagesResponse",
    "NotificationMessage",
    "Topic",
    "Message",
    "Fault",
    "SimpleItem",
    "CurrentTime",
    "TerminationTime",
    "x:y",
    "CreatePullPointSubscriptionResponse",
    "SubscriptionReference",
    "Address",
    "ReferenceParameters",
    "Data",
    "RenewResponse",
    "UnsubscribeResponse",
]
XML = st.recursive(
    st.text(max_size=8),
    lambda inner: st.builds(
        lambda name, held: f"<{name}>{''.join(held)}</{name}>",
        st.sampled_from(NAMES),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.binary(max_size=200) | XML.map(lambda xml: f"<E><Body>{xml}</Body></E>".encode()))
def test_answers_of_any_shape_raise_nothing_but_a_protocol_error(body: bytes) -> None:
    for parse in (
        pull_point.parse_pulled,
        pull_point.parse_subscription,
        pull_point.fault_of,
        pull_point.parse_renewed,
        pull_point.parse_unsubscribed,
    ):
        with suppress(ProtocolError):
            parse(parse_leniently(body, size_max=SIZE_MAX))


@given(st.text(max_size=40), st.text(max_size=40))
def test_what_a_camera_names_never_breaks_out_of_a_request(address: str, value: str) -> None:
    reference = Element(
        name="E",
        attributes={},
        children=[
            Element(
                name="{s}Body",
                attributes={},
                children=[
                    Element(
                        name="CreatePullPointSubscriptionResponse",
                        attributes={},
                        children=[
                            Element(
                                name="SubscriptionReference",
                                attributes={},
                                children=[
                                    Element(name="Address", attributes={}, text=address),
                                    Element(
                                        name="ReferenceParameters",
                                        attributes={},
                                        children=[
                                            Element(
                                                name=f"{{{value}}}Id",
                                                attributes={value: value, f"{{{value}}}a": value},
                                                text=value,
                                            )
                                        ],
                                    ),
                                ],
                            )
                        ],
                    )
                ],
            )
        ],
    )
    try:
        subscription = pull_point.parse_subscription(reference)
        request = parse_strictly(
            pull_point.pull_request(subscription, 5, "urn:uuid:1", None), size_max=SIZE_MAX
        )
    except ProtocolError:
        return
    body = request.find(f"{{{onvif_replies.SOAP}}}Body")
    assert body is not None
    assert [child.local for child in body.children] == ["PullMessages"]
    assert isinstance(subscription, Subscription)
