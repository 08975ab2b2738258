"""What the command line and the page of the boards may ask."""

from typing import Annotated

import msgspec

from edge.pages.actions import Identity
from edge.panels.plan import PATTERNS_MAX, UNLOCK_MINUTES_MAX, Clock, Pattern, Word

Rooms = Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=PATTERNS_MAX)]


class TellBoards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    command: Word
    argument: Word
    rooms: Rooms = ()


class UnlockBoard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device: Identity
    minutes: Annotated[int, msgspec.Meta(ge=1, le=UNLOCK_MINUTES_MAX)]


class TellDaily(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Word
    at: Clock
    command: Word
    argument: Word
    rooms: Rooms = ()


class ForgetDaily(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Word
