"""What a driver tells of its device: presence once a change, readings, results of commands."""

from drivers.entities import (
    CommandResult,
    DeviceId,
    EventSink,
    Measurement,
    NowMs,
    Outcome,
    Presence,
    Quality,
)
from drivers.errors import Trouble

CLOCK_POINT = "clock_offset"


class PresenceReports:
    """``online`` and ``reason`` are what was told last, None and empty before that."""

    def __init__(self, device: DeviceId, now_ms: NowMs, sink: EventSink) -> None:
        self.online: bool | None = None
        self.reason = ""
        self._trouble = Trouble.NONE
        self._device = device
        self._now_ms = now_ms
        self._sink = sink

    def tell(self, *, online: bool, reason: str, trouble: Trouble = Trouble.NONE) -> None:
        """Report that a device came or went, or that its trouble is now another."""
        is_news = self.online is not online or self._trouble is not trouble
        self.online, self.reason, self._trouble = online, reason, trouble
        if is_news:
            self._sink(
                Presence(
                    device=self._device,
                    online=online,
                    observed_ms=self._now_ms(),
                    reason=reason,
                    trouble=trouble,
                )
            )


class Reports:
    """``source`` is the provenance of its readings."""

    def __init__(self, device: DeviceId, source: str, now_ms: NowMs, sink: EventSink) -> None:
        self.device = device
        self.source = source
        self.presence = PresenceReports(device, now_ms, sink)
        self._now_ms = now_ms
        self._sink = sink

    def result(self, command: str, outcome: Outcome, detail: str = "") -> CommandResult:
        told = CommandResult(
            device=self.device,
            command=command,
            outcome=outcome,
            observed_ms=self._now_ms(),
            detail=detail,
        )
        self._sink(told)
        return told

    def reading(
        self,
        point: str,
        value: float | str,
        unit: str = "",
        *,
        quality: Quality = Quality.GOOD,
        reason: str = "",
    ) -> None:
        self._sink(
            Measurement(
                device=self.device,
                point=point,
                value=value,
                unit=unit,
                quality=quality,
                observed_ms=self._now_ms(),
                source=self.source,
                reason=reason,
            )
        )
