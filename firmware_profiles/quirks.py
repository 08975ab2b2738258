"""Oddities of models: a closed list, each of which a driver or the simulated device acts on."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

QuirkId = Literal[
    "one_point_a_read",  # Modbus: answers reads of a single point only: never coalesce
    "silent_when_unknown",  # Modbus: stays silent where the standard asks for an exception reply
    "closes_idle_link",  # displays: hangs up a connection that was quiet: normal, reconnect
    "ends_long_pulls",  # ONVIF: hangs up on a pull for events that waits 10 s: wait less
    "one_subscription",  # ONVIF: one listener for events at a time: let a lost one end soon
    "wants_addressing",  # ONVIF: refuses pulls without WS-Addressing headers, which we always send
    "no_snapshot",  # ONVIF: has no still picture: do not ask for one
    "own_onvif_users",  # ONVIF: its ONVIF users are not the users of its web page: say so
]


class Quirk(Struct, frozen=True, forbid_unknown_fields=True):
    """An oddity of a model, and who saw it; ``unconfirmed`` marks one that no source tells of."""

    id: QuirkId
    source: Annotated[str, Meta(max_length=2_000)] = ""
    unconfirmed: bool = False
