"""Class cards covered while an alarm or a drill wants it, and how many confirmed that."""

import asyncio
import logging
import sqlite3
from contextlib import closing

from drivers.entities import NowMs
from edge.books import Connect
from edge.class_cards.messages import find_message
from edge.class_cards.office import CardOffice
from edge.pages.language import load_language
from edge.safety.circuits import CircuitKind, Effect
from edge.safety.incidents import DRILL, Incident, Step
from edge.safety.safety_rows import read_painted
from sync.logs.oplog import Row

_log = logging.getLogger(__name__)

WHO = "safety"


class CardCovers:
    """Puts what stands over the cards, and lifts it with the all-clear."""

    def __init__(self, school: int, connect: Connect, cards: CardOffice, now_ms: NowMs) -> None:
        self._school = school
        self._connect = connect
        self._cards = cards
        self._now_ms = now_ms

    async def cover(self, incident: Incident) -> str | None:
        """Cover the cards; return the message's name, None when it is not wanted or not possible.

        Who asks again after a failure covers then.
        """
        if Effect.CARDS not in incident.effects or incident.first(Step.CARDS_COVERED):
            return None
        zh, en = card_text(incident, "zh-CN"), card_text(incident, "en")
        try:
            message = await self._cards.messages.raise_emergency(zh, en, room=None, who=WHO)
        except sqlite3.Error as error:
            _log.warning("the class cards are not covered yet: %s", error)
            return None
        return message.message

    async def lift(self, incident: Incident, who: str) -> None:
        """Lift what covers the cards for an incident that is over."""
        covered = incident.first(Step.CARDS_COVERED)
        if covered is None:
            return
        try:
            message = find_message(self._connect, self._school, covered.detail, self._now_ms())
            if message is not None:
                await self._cards.messages.withdraw(message, who or WHO)
        except sqlite3.Error as error:
            _log.warning("%s still covers the cards: %s", covered.detail, error)

    async def drill_row(self, drill: Incident, who: str, now_ms: int) -> Row:
        """Return what a drill that ends now came to."""
        covered = drill.first(Step.CARDS_COVERED)
        painted, slowest_ms = 0, None
        if covered is not None:
            try:
                painted, slowest_ms = await asyncio.to_thread(
                    self._read_painted, covered.detail, drill.at_ms
                )
            except sqlite3.Error as error:
                _log.warning("how many cards confirmed %s is not known: %s", drill.place, error)
        return {
            "at_ms": drill.at_ms,
            "alarm": drill.place,
            "screens": len(self._cards.screens.all()) if covered else 0,
            "acknowledged": painted,
            "slowest_ms": slowest_ms,
            "incident": drill.incident,
            "ended_ms": now_ms,
            "led_by": who or None,
        }

    def _read_painted(self, message: str, since_ms: int) -> tuple[int, int | None]:
        with closing(self._connect()) as connection:
            return read_painted(connection, self._school, message, since_ms)


def card_text(incident: Incident, code: str) -> str:
    """Return what a card shows; both languages stand on it, whoever passes in the corridor."""
    _ = load_language(code).translations.gettext
    texts = {
        CircuitKind.FIRE: _("Fire: {place}. Leave the building now."),
        CircuitKind.LEAK: _("Danger: {place}. Keep away."),
        DRILL: "{place}",
    }
    text = texts.get(incident.kind, _("Emergency: {place}. Do as your teacher says."))
    mark = _("DRILL.") + " " if incident.is_drill else ""
    return mark + text.format(place=incident.place)
