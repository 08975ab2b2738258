import asyncio
import contextlib
import selectors

import pytest

from edge import supervision
from edge.supervision import apart, keep_running, under_watch


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "RESTART_FIRST_S", 0.01)
    monkeypatch.setattr(supervision, "RESTART_MAX_S", 0.02)


async def test_work_that_fails_is_started_again_until_it_is_done() -> None:
    begun: list[int] = []

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) < 4:
            raise ZeroDivisionError

    await keep_running("a piece of work", work)
    assert begun == [0, 1, 2, 3]


class Leap(selectors.DefaultSelector):
    """Does not wait: what a loop would have waited is added to its clock."""

    leapt_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.leapt_s += timeout or 0.0
        return super().select(0)


def test_a_fault_after_a_good_while_costs_no_more_than_a_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervision, "RESTART_FIRST_S", 1.0)
    monkeypatch.setattr(supervision, "RESTART_MAX_S", 1e6)
    quick_faults = 20
    begun_s: list[float] = []
    failed_s: list[float] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        begun_s.append(loop.time())
        if len(begun_s) > quick_faults:
            await asyncio.sleep(supervision.WELL_S)
        failed_s.append(loop.time())
        if len(begun_s) < quick_faults + 10:
            raise ZeroDivisionError

    leap = Leap()
    loop = asyncio.SelectorEventLoop(leap)
    monkeypatch.setattr(loop, "time", lambda: leap.leapt_s)
    with contextlib.closing(loop):
        loop.run_until_complete(keep_running("a piece of work", work))
    pauses_s = [begun - failed for failed, begun in zip(failed_s, begun_s[1:], strict=False)]
    assert max(pauses_s[:quick_faults]) > 1.0
    assert max(pauses_s[quick_faults:]) <= 1.0


async def test_work_that_is_told_to_end_while_it_fails_ends() -> None:
    """Python 3.11's TaskGroup takes the fault for the cancellation; both come at one moment."""
    failing = asyncio.Event()
    begun: list[int] = []

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            failing.set()
            await asyncio.sleep(0.1)

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise ZeroDivisionError

    async def work() -> None:
        begun.append(1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(linger())
            tasks.create_task(fail())

    running = asyncio.create_task(keep_running("a piece of work", work))
    await failing.wait()
    running.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([running])
    assert running.cancelled()
    assert begun == [1]


async def test_what_catches_a_fault_and_goes_on_ends_when_told_to_at_that_moment() -> None:
    failing = asyncio.Event()

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            failing.set()
            await asyncio.sleep(0.1)

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise ConnectionResetError

    async def link() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(linger())
            tasks.create_task(fail())

    async def keep_linked() -> None:
        while True:
            with contextlib.suppress(ExceptionGroup):
                await apart(link())

    running = asyncio.create_task(keep_linked())
    await failing.wait()
    running.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([running])
    assert running.cancelled()


async def test_what_runs_apart_returns_and_raises_as_it_would_here() -> None:
    async def work(divisor: int) -> int:
        return 6 // divisor

    assert await apart(work(3)) == 2
    with pytest.raises(ZeroDivisionError):
        await apart(work(0))


async def test_what_is_under_watch_ends_with_what_its_watch_raises_and_takes_the_watch_along() -> (
    None
):
    ended: list[str] = []

    async def wait(name: str, fault: Exception | None = None) -> None:
        try:
            await asyncio.sleep(0.01 if fault else 3600)
        finally:
            ended.append(name)
        if fault:
            raise fault

    with pytest.raises(ZeroDivisionError):
        await under_watch(lambda: wait("work"), lambda: wait("watch", ZeroDivisionError()))
    assert ended == ["watch", "work"]

    ended.clear()
    assert await under_watch(lambda: asyncio.sleep(0.02, 7), lambda: wait("watch")) == 7
    assert ended == ["watch"]
    with pytest.raises(KeyError):
        await under_watch(lambda: wait("work", KeyError()), lambda: wait("watch"))
