"""A whole district as a subprocess: the demo's own command line, watched from outside."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.demo.browser import send_form, sign_in
from edge.demo.plan import DemoPlan, load_demo_config, make_plan

SCHOOLNODE = str(Path(sys.executable).with_name("schoolnode"))
SCHOOLNODE_HUB = str(Path(sys.executable).with_name("schoolnode-hub"))
LOOK_EVERY_S = 0.1
STOP_S_MAX = 30.0

ENROLLED = "All three schools are enrolled and at work"
PLAYING = "lesson playing in both classrooms"
CUT = "is cut."
MENDED = "is whole again."
OVER = "The lesson is over"


class RunningDemo:
    """``folder`` is the demo's; what it writes lies beside it in ``out.json`` and ``notes.txt``."""

    def __init__(self, plan: DemoPlan, process: subprocess.Popen[bytes]) -> None:
        self.folder = plan.folder
        self.process = process
        self._plan = plan

    @property
    def notes(self) -> str:
        return self.folder.with_name("notes.txt").read_text()

    def wait_until(self, true: Callable[[], bool], what: str, within_s: float) -> None:
        """Wait until something is so; fails with the demo's own words when it ends before."""
        end_s = time.monotonic() + within_s
        while not true():
            code = self.process.poll()
            assert code is None, f"the demo ended with {code} before {what}:\n{self.notes}"
            assert time.monotonic() < end_s, f"no {what} within {within_s} s:\n{self.notes}"
            time.sleep(LOOK_EVERY_S)

    def wait_for_note(self, note: str, within_s: float) -> None:
        self.wait_until(lambda: note in self.notes, repr(note), within_s)

    def wait_for_file(self, name: str, within_s: float) -> Path:
        path = self.folder / name
        self.wait_until(path.exists, name, within_s)
        return path

    def end_lesson(self) -> None:
        """End the lesson with the remote, as the flagship's staff may."""
        asyncio.run(_end_lesson(self._plan))

    def finish(self, within_s: float) -> dict[str, Any]:
        """Wait for its end and return what it observed; fails unless it exits 0."""
        code = self.process.wait(within_s)
        written = self.folder.with_name("out.json").read_text()
        assert code == 0, f"exit code {code}:\n{self.notes}\n{written}"
        observed: dict[str, Any] = json.loads(written)
        return observed


@contextmanager
def running_demo(
    place: Path,
    *,
    network: int,
    for_s: float,
    seed: int = 1,
    settings: str = "",
    keep: bool = False,
) -> Iterator[RunningDemo]:
    """Start a demo in ``place``; it is stopped as by Ctrl-C if it has not ended by itself."""
    config = place / "demo.toml"
    config.write_text(f"seed = {seed}\nnetwork = {network}\n{settings}")
    folder = place / "d"  # a socket's path has room for 107 bytes
    plan = make_plan(folder, load_demo_config(config))
    command = [SCHOOLNODE, "demo", "--json", f"--for={for_s}", f"--folder={folder}"]
    command += [f"--config={config}", *(["--keep"] if keep else [])]
    with (
        (place / "out.json").open("wb") as out,
        (place / "notes.txt").open("wb") as notes,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=notes) as process,
    ):
        try:
            yield RunningDemo(plan, process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(STOP_S_MAX)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise


async def _end_lesson(plan: DemoPlan) -> None:
    flagship = plan.schools[0]
    setup_code = (flagship.folder / "data" / "setup-code").read_text()
    async with sign_in(flagship, setup_code) as staff:
        await send_form(staff, f"/lesson/remote/stop?room={flagship.room}")
