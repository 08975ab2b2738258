"""An event loop whose time passes as fast as its work is done: an hour of waiting takes none.

Sockets are real. As long as any of them has something, time stands; when all wait, it jumps to the
next moment that somebody waits for. What others do in threads is done in turn instead, so that it
takes no time either. Only loops whose peers are all in it may run so.
"""

import asyncio
import selectors
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar, TypeVarTuple, Unpack

import pytest

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class _PatientSelector(selectors.DefaultSelector):
    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        assert timeout is not None, "all wait for each other, and for no moment"
        self.passed_s += timeout
        later: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        return later


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s."""

    def __init__(self) -> None:
        self._patient = _PatientSelector()
        super().__init__(self._patient)

    def time(self) -> float:
        return self._patient.passed_s

    def run_in_executor(
        self,
        executor: object,  # noqa: ARG002 - none is asked
        func: Callable[[Unpack[Arguments]], Result],
        *args: *Arguments,
    ) -> asyncio.Future[Result]:
        done: asyncio.Future[Result] = self.create_future()
        done.set_result(func(*args))
        return done


class _InTurn(Executor):
    """Stands for a writer's thread; what fails raises where it is asked for."""

    def __init__(self, *, max_workers: int, thread_name_prefix: str) -> None:
        """Take what a pool of threads would."""

    def submit(
        self, func: Callable[..., Result], /, *args: object, **kwargs: object
    ) -> Future[Result]:
        done: Future[Result] = Future()
        done.set_result(func(*args, **kwargs))
        return done


def run_in_virtual_time(work: Callable[[], Coroutine[None, None, Result]]) -> Result:
    """Run to the end; modules that took ``time.monotonic`` have the loop's time meanwhile."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner, _told_by(runner.get_loop()):
        return runner.run(work())


@contextmanager
def _told_by(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sync.writer.ThreadPoolExecutor", _InTurn)
        for module in _ours(sys.modules):
            if vars(module).get("monotonic") is time.monotonic:
                patch.setattr(module, "monotonic", loop.time)
        yield


def _ours(modules: Mapping[str, ModuleType]) -> list[ModuleType]:
    parts = ("edge.", "hub.", "sync.")
    return [module for name, module in list(modules.items()) if name.startswith(parts)]
