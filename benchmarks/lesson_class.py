"""One lesson held over a link whose shape changes under it: two processes, and what came of it.

The hub's end and the school's end of ``lesson_poor_link.py`` in the namespaces of ``link.py``.
"""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import hashes

from benchmarks.lesson_box_end import Came
from benchmarks.lesson_hub_end import LESSON
from benchmarks.lesson_play import Stretch
from benchmarks.link import ADDRESSES, Link, linked
from benchmarks.link_shape import Shape, Way
from benchmarks.self_signed import self_signed
from edge.lesson.teaching.materials import Materials

GOOD_MS, POOR_MS = 10.0, 150.0
POOR_KBITS, FLOOR_KBITS = 500.0, 64.0
BETWEEN_S = 10.0
"""So long the link is poor before it is at its floor."""
QUEUE_BYTES = 32_000
WARM_S = 3.0
SLIDES = 3
SLIDE_BYTES = 60_000
_HERE = Path(__file__).parent
_START_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Setting:
    """Who hands the lesson on, and under which congestion control."""

    way: str
    congestion: str

    @property
    def name(self) -> str:
        return f"{self.way}_{self.congestion}"


SETTINGS = tuple(Setting(way, kind) for way in ("adapting", "plain") for kind in ("bbr", "cubic"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came, and when the link was poor and good again."""

    came: list[Came]
    poor: Stretch
    good: Stretch


def even(kbits: float, one_way_ms: float, loss: float, seed: int) -> Shape:
    way = Way(kbits=kbits, delay_ms=one_way_ms, loss=loss, queue_bytes=QUEUE_BYTES)
    return Shape(up=way, down=way, seed=seed)


def good_shape(seed: int) -> Shape:
    way = Way(kbits=10_000, delay_ms=GOOD_MS, queue_bytes=250_000)
    return Shape(up=way, down=way, seed=seed)


class Class:
    """A hub's end and a school's end that run over one link."""

    def __init__(self, link: Link, folder: Path, setting: Setting, media: Path) -> None:
        folder.mkdir(parents=True)
        certificate = folder / "hub.pem"
        certificate.write_bytes(self_signed(ADDRESSES["hub"]))
        ends = [f"--certificate={certificate}", f"--way={setting.way}"]
        hub = [sys.executable, str(_HERE / "lesson_hub_end.py"), *ends]
        hub += [f"--folder={folder / 'hub'}", f"--media={media}"]
        hub.append(f"--congestion={setting.congestion}")
        materials = Materials(folder / "hub" / "materials")
        for number in range(1, SLIDES + 1):
            materials.add(LESSON, number, f"slide {number}", _slide(number))
        self._lines = folder / "came.jsonl"
        self._out = self._lines.open("wb")
        self._hub = subprocess.Popen(link.inside("hub", hub), stdout=subprocess.PIPE)
        assert self._hub.stdout is not None
        if self._hub.stdout.readline() != b"ready\n":
            raise RuntimeError("the hub's end did not start; its error is above")
        box = [sys.executable, str(_HERE / "lesson_box_end.py"), *ends]
        box += [f"--folder={folder / 'box'}", f"--hub={ADDRESSES['hub']}"]
        self._box = subprocess.Popen(link.inside("box", box), stdout=self._out)

    def wait_until_it_plays(self) -> None:
        deadline_s = time.monotonic() + _START_S_MAX
        while not self._lines.stat().st_size:
            if time.monotonic() > deadline_s or self._box.poll() is not None:
                raise RuntimeError("no lesson came to the school's end; its error is above")
            time.sleep(0.1)

    def stop(self) -> list[Came]:
        for process in (self._box, self._hub):
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert self._hub.stdout is not None
        self._hub.stdout.close()
        self._out.close()
        lines = self._lines.read_bytes().split(b"\n")[:-1]
        return [msgspec.json.decode(line, type=Came) for line in lines]


def run_class(
    setting: Setting,
    folder: Path,
    media: Path,
    poor: Shape,
    seconds: tuple[float, float, float],
) -> Outcome:
    """Hold a lesson over a link that is good, poor and good again for so many seconds each."""
    good = good_shape(poor.seed)
    before_s, poor_s, after_s = seconds
    with linked(good) as link:
        running = Class(link, folder, setting, media)
        try:
            running.wait_until_it_plays()
            time.sleep(WARM_S + before_s)
            if (poor.down.kbits or 0) < POOR_KBITS:
                link.reshape(even(POOR_KBITS, POOR_MS, 0.0, poor.seed))
                time.sleep(BETWEEN_S)
            link.reshape(poor)
            poor_ms = _now_ms()
            time.sleep(poor_s)
            link.reshape(good)
            good_ms = _now_ms()
            time.sleep(after_s)
        finally:
            came = running.stop()
    return Outcome(came=came, poor=Stretch(poor_ms, good_ms), good=Stretch(good_ms, _now_ms()))


def _slide(number: int) -> bytes:
    """Return a picture's worth of bytes that no link compresses."""
    stream = hashes.Hash(hashes.SHAKE256(SLIDE_BYTES))
    stream.update(bytes((number,)))
    return b"\x89PNG\r\n\x1a\n" + stream.finalize()


def _now_ms() -> int:
    return int(time.time() * 1000)
