"""What a terminal's driver tells of it: presence once a change, results, readings."""

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

CLOCK_POINT = "clock_offset"


class Reports:
    """``source`` is the provenance of its readings."""

    def __init__(self, device: DeviceId, source: str, now_ms: NowMs, sink: EventSink) -> None:
        self.device = device
        self.source = source
        self._now_ms = now_ms
        self._sink = sink
        self._is_online: bool | None = None

    def presence(self, *, online: bool, reason: str) -> None:
        if self._is_online is not online:
            self._is_online = online
            self._sink(
                Presence(
                    device=self.device, online=online, observed_ms=self._now_ms(), reason=reason
                )
            )

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

    def reading(self, point: str, value: float | str, unit: str = "") -> None:
        self._sink(
            Measurement(
                device=self.device,
                point=point,
                value=value,
                unit=unit,
                quality=Quality.GOOD,
                observed_ms=self._now_ms(),
                source=self.source,
            )
        )
