"""A lesson over a link that is good, then poor, then good again; with adaptation and without.

A flagship and the hub's relay in one network namespace, a school's receiver in another, TLS between
them, over the packet relay of ``link.py``: 10 Mb/s and 20 ms round trip, then 500 kb/s, 300 ms and
3 % loss each way, then good again. The lesson is real H.264 (1.7 Mb/s and 180 kb/s) and AAC. Beside
it, in the same minutes, a hub that sends each record as it comes ("plain"); both with BBR and with
cubic at the hub. The floor is 64 kb/s without loss, after ten seconds of 500 kb/s, with sound of
24 kb/s: what a fragment and its packet weigh beside the sound (270 bytes, nine times a second)
leaves no room for 64 kb/s of sound, nor for 48.
"""

import datetime as dt
import ipaddress
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.lesson_box_end import Came
from benchmarks.lesson_hub_end import LESSON
from benchmarks.lesson_media import LOW_SOUND_BITS, encode_media, save_media
from benchmarks.lesson_play import (
    BEHIND_MS,
    GAP_MS,
    NEVER_MS,
    Stretch,
    large_again_s,
    picture_delay_ms,
    picture_share,
    slide_delays_s,
    sound_of,
)
from benchmarks.link import ADDRESSES, Link, linked, missing_need
from benchmarks.link_shape import Shape, Way
from benchmarks.report import (
    Figure,
    Report,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)
from edge.lesson.teaching.materials import Materials

GOOD_MS, POOR_MS = 10.0, 150.0
POOR_KBITS, FLOOR_KBITS = 500.0, 64.0
BETWEEN_S = 10.0
"""So long the link is poor before it is at its floor."""
QUEUE_BYTES = 32_000
WARM_S = 3.0
SLIDES = 3
SLIDE_BYTES = 60_000
SETTLED_S = 20.0
"""At the floor the first seconds are the step down to it, and are told apart."""
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
        certificate.write_bytes(_self_signed())
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
        self._materials = materials

    def wait_until_it_plays(self) -> None:
        deadline_s = time.monotonic() + _START_S_MAX
        while not self._lines.stat().st_size:
            if time.monotonic() > deadline_s or self._box.poll() is not None:
                raise RuntimeError("no lesson came to the school's end; its error is above")
            time.sleep(0.1)

    def add_slide(self, number: int) -> None:
        self._materials.add(LESSON, number, f"slide {number}", _slide(number))

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
    good_shape_now = good_shape(poor.seed)
    before_s, poor_s, after_s = seconds
    between = (
        even(POOR_KBITS, POOR_MS, 0.0, poor.seed) if (poor.down.kbits or 0) < POOR_KBITS else None
    )
    with linked(good_shape_now) as link:
        running = Class(link, folder, setting, media)
        try:
            running.wait_until_it_plays()
            time.sleep(WARM_S + before_s)
            if between is not None:
                link.reshape(between)
                time.sleep(BETWEEN_S)
            link.reshape(poor)
            poor_ms = _now_ms()
            time.sleep(poor_s)
            link.reshape(good_shape_now)
            good_ms = _now_ms()
            time.sleep(after_s)
        finally:
            came = running.stop()
    return Outcome(came=came, poor=Stretch(poor_ms, good_ms), good=Stretch(good_ms, _now_ms()))


def figures_of(setting: Setting, outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return what is asked of a poor link; the goals are the product's, with BBR."""
    name = setting.name
    is_goal = setting == SETTINGS[0]
    sound = [sound_of(each.came, each.poor) for each in outcomes]
    return [
        measured(
            f"picture_delay_{name}",
            [picture_delay_ms(each.came, each.poor) for each in outcomes],
            "ms",
            "lower",
            1000.0 if is_goal else None,
        ),
        measured(
            f"seconds_with_picture_{name}",
            [picture_share(each.came, each.poor) for each in outcomes],
            "%",
            "higher",
            97.0 if is_goal else None,
        ),
        measured(f"sound_delay_{name}", [each.share(0.5) for each in sound], "ms", "lower"),
        measured(f"sound_delay_p99_{name}", [each.share(0.99) for each in sound], "ms", "lower"),
        measured(
            f"sound_lost_{name}",
            [float(each.lost) for each in sound],
            "fragments",
            "lower",
            0.0 if is_goal else None,
        ),
        measured(
            f"sound_gaps_{name}",
            [float(each.gaps) for each in sound],
            "gaps",
            "lower",
            0.0 if is_goal else None,
        ),
        measured(
            f"large_again_{name}",
            [large_again_s(each.came, each.good) for each in outcomes],
            "s",
            "lower",
            15.0 if is_goal else None,
        ),
    ]


def floor_figures(congestion: str, outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return what is asked of 64 kb/s."""
    found: list[Figure] = []
    after = [
        Stretch(each.poor.from_ms + int(SETTLED_S * 1000), each.poor.until_ms) for each in outcomes
    ]
    is_goal = congestion == "bbr"
    sound = [sound_of(each.came, stretch) for each, stretch in zip(outcomes, after, strict=True)]
    down = [
        sound_of(each.came, Stretch(each.poor.from_ms, stretch.from_ms))
        for each, stretch in zip(outcomes, after, strict=True)
    ]
    slides = [max(slide_delays_s(each.came, each.poor), default=0.0) for each in outcomes]
    for name, samples, unit, goal in (
        ("sound_gaps", [float(each.gaps) for each in sound], "gaps", 0.0),
        ("sound_lost", [float(each.lost) for each in sound], "fragments", 0.0),
        ("sound_delay", [each.share(0.5) for each in sound], "ms", None),
        ("sound_delay_worst", [each.share(1.0) for each in sound], "ms", None),
        ("step_down_worst_sound_delay", [each.share(1.0) for each in down], "ms", None),
        ("slide_delay_worst", slides, "s", 10.0),
    ):
        goal_here = goal if is_goal else None
        found.append(measured(f"floor_{name}_{congestion}", samples, unit, "lower", goal_here))
    return found


def _slide(number: int) -> bytes:
    """Return a picture's worth of bytes that no link compresses."""
    stream = hashes.Hash(hashes.SHAKE256(SLIDE_BYTES))
    stream.update(bytes((number,)))
    return b"\x89PNG\r\n\x1a\n" + stream.finalize()


def _self_signed() -> bytes:
    """Return a key and a certificate for the hub's end, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address(ADDRESSES["hub"]))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return private + made.public_bytes(encoding)


def _now_ms() -> int:
    return int(time.time() * 1000)


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--good", type=float, default=10, help="seconds before")
    options.add_argument("--poor", type=float, default=60, help="seconds of the poor link")
    options.add_argument("--again", type=float, default=20, help="seconds after")
    options.add_argument("--floor", type=float, default=180, help="seconds at 64 kb/s, 0 for none")
    options.add_argument("--side-by-side", type=int, default=4, help="links at the same time")
    options.add_argument("--save", type=Path, help="keep what came, for a closer look")
    given = options.parse_args()
    if reason := missing_need():
        sys.exit(f"lesson_poor_link: {reason}")
    machine = read_machine()
    figures: list[Figure] = []
    with progress("lesson_poor_link") as step, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with linked(good_shape(1)):
            pass  # takes down what a killed run left, before links are made side by side
        step("encoding a lesson")
        media, low = folder / "media", folder / "low"
        save_media(encode_media(), media)
        save_media(encode_media(LOW_SOUND_BITS), low)
        outcomes: dict[Setting, list[Outcome]] = {setting: [] for setting in SETTINGS}
        seconds = given.good, given.poor, given.again
        with ThreadPoolExecutor(given.side_by_side) as pool:
            for run in range(given.runs):
                step(f"500 kb/s, run {run + 1} of {given.runs}")
                shape = even(POOR_KBITS, POOR_MS, 0.03, seed=run + 1)
                started = {
                    setting: pool.submit(
                        run_class, setting, folder / f"{run}-{setting.name}", media, shape, seconds
                    )
                    for setting in SETTINGS
                }
                for setting, future in started.items():
                    outcomes[setting].append(future.result())
            for setting in SETTINGS:
                figures += figures_of(setting, outcomes[setting])
            if given.floor:
                step("64 kb/s")
                shape = even(FLOOR_KBITS, POOR_MS, 0.0, seed=1)
                parts = 5.0, given.floor, 2.0
                floors = {
                    setting: pool.submit(
                        run_class, setting, folder / f"floor-{setting.name}", low, shape, parts
                    )
                    for setting in SETTINGS[:2]
                }
                for setting, future in floors.items():
                    outcomes[setting].append(future.result())
                    figures += floor_figures(setting.congestion, outcomes[setting][-1:])
        if given.save:
            _save(outcomes, given.save)
    report = Report(
        benchmark="lesson_poor_link",
        machine=machine,
        versions=read_versions("aiohttp", "uvloop", "av"),
        figures=figures,
        notes=_notes(given.runs, seconds, given.side_by_side),
    )
    publish(report, as_json=given.json)


def _save(outcomes: dict[Setting, list[Outcome]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for setting, found in outcomes.items():
        for number, outcome in enumerate(found):
            path = folder / f"{setting.name}-{number}.json"
            path.write_bytes(msgspec.json.encode(outcome))


def _notes(runs: int, seconds: tuple[float, float, float], side_by_side: int) -> list[str]:
    before_s, poor_s, after_s = seconds
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().strip()
    return [
        (
            f"{runs} runs of {before_s:.0f} s good, {poor_s:.0f} s poor, {after_s:.0f} s good;"
            f" {side_by_side} links at a time. This kernel has {available}."
        ),
        (
            f"Delay: capture to the school's box; a page adds its buffer. A sound gap: a silence of"
            f" more than {GAP_MS} ms at a page that begins {BEHIND_MS} ms behind, is further behind"
            f" after each and hurries by 6 %. {NEVER_MS} stands for never."
        ),
        "The goals are asked of the product with BBR; cubic and plain sending stand beside it.",
        "Not tried here: a radio link whose rate changes by itself.",
    ]


if __name__ == "__main__":
    main()
