"""A lesson over a link that is good, then poor, then good again; with adaptation and without.

A flagship and the hub's relay in one network namespace, a school's receiver in another, TLS between
them, over the packet relay of ``link.py``: 10 Mb/s and 20 ms round trip, then 500 kb/s, 300 ms and
3 % loss each way, then good again. The lesson is real H.264 (1.7 Mb/s and 180 kb/s) and AAC. Beside
it, in the same minutes, a hub that sends each record as it comes ("plain"); both with BBR and with
cubic at the hub. The floor is 64 kb/s without loss, after ten seconds of 500 kb/s, with sound of
24 kb/s: what a fragment and its packet weigh beside the sound (270 bytes, nine times a second)
leaves no room for 64 kb/s of sound, nor for 48.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from benchmarks.lesson_class import (
    FLOOR_KBITS,
    POOR_KBITS,
    POOR_MS,
    SETTINGS,
    Outcome,
    Setting,
    even,
    good_shape,
    run_class,
)
from benchmarks.lesson_media import LOW_SOUND_BITS, encode_media, load_media, save_media
from benchmarks.lesson_page import Heard, play_to_pages
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
from benchmarks.link import linked, missing_need
from benchmarks.report import (
    Direction,
    Figure,
    Report,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)

SETTLED_S = 20.0
"""At the floor the first seconds are the step down to it, and are told apart."""


def figures_of(setting: Setting, outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return what is asked of a poor link; the goals are the product's, with BBR."""
    is_goal = setting == SETTINGS[0]
    sound = [sound_of(each.came, each.poor) for each in outcomes]
    delays = [picture_delay_ms(each.came, each.poor) for each in outcomes]
    shares = [picture_share(each.came, each.poor) for each in outcomes]
    again = [large_again_s(each.came, each.good) for each in outcomes]
    asked: tuple[tuple[str, list[float], str, Direction, float | None], ...] = (
        ("picture_delay", delays, "ms", "lower", 1000.0),
        ("seconds_with_picture", shares, "%", "higher", 97.0),
        ("sound_delay", [each.share(0.5) for each in sound], "ms", "lower", None),
        ("sound_delay_p99", [each.share(0.99) for each in sound], "ms", "lower", None),
        ("sound_lost", [float(each.lost) for each in sound], "fragments", "lower", 0.0),
        ("sound_gaps", [float(each.gaps) for each in sound], "gaps", "lower", 0.0),
        ("large_again", again, "s", "lower", 15.0),
    )
    return [
        measured(f"{name}_{setting.name}", samples, unit, direction, goal if is_goal else None)
        for name, samples, unit, direction, goal in asked
    ]


def page_figures(pages: Sequence[Heard]) -> list[Figure]:
    """Return what classes heard of the product with BBR, each page for itself."""
    asked: tuple[tuple[str, list[float], str], ...] = (
        ("page_silences", [float(len(each.silences_ms)) for each in pages], "silences"),
        ("page_silent", [sum(each.silences_ms) for each in pages], "ms"),
        ("page_skipped", [each.skipped_s for each in pages], "s"),
        ("page_behind", [each.behind_median_ms for each in pages], "ms"),
    )
    return [measured(name, samples, unit, "lower", None) for name, samples, unit in asked]


def floor_figures(congestion: str, outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return what is asked of 64 kb/s."""
    found: list[Figure] = []
    after = [
        Stretch(each.poor.from_ms + int(SETTLED_S * 1000), each.poor.until_ms) for each in outcomes
    ]
    is_goal = congestion == "bbr"
    # Whoever hears the step down goes on listening: silences are those of the whole of it.
    silences = [sound_of(each.came, each.poor).silences for each in outcomes]
    settled_ms = 1000 * SETTLED_S
    gaps = [float(sum(at_ms >= settled_ms for at_ms, _ in found)) for found in silences]
    silent = [sum(ms for at_ms, ms in found if at_ms < settled_ms) for found in silences]
    sound = [sound_of(each.came, stretch) for each, stretch in zip(outcomes, after, strict=True)]
    down = [
        sound_of(each.came, Stretch(each.poor.from_ms, stretch.from_ms))
        for each, stretch in zip(outcomes, after, strict=True)
    ]
    slides = [max(slide_delays_s(each.came, each.poor), default=0.0) for each in outcomes]
    for name, samples, unit, goal in (
        ("sound_gaps", gaps, "gaps", 0.0),
        ("sound_lost", [float(each.lost) for each in sound], "fragments", 0.0),
        ("sound_delay", [each.share(0.5) for each in sound], "ms", None),
        ("sound_delay_worst", [each.share(1.0) for each in sound], "ms", None),
        ("step_down_silent", silent, "ms", None),
        ("step_down_sound_lost", [float(each.lost) for each in down], "fragments", None),
        ("step_down_worst_sound_delay", [each.share(1.0) for each in down], "ms", None),
        ("slide_delay_worst", slides, "s", 10.0),
    ):
        goal_here = goal if is_goal else None
        found.append(measured(f"floor_{name}_{congestion}", samples, unit, "lower", goal_here))
    return found


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
            step("what a page makes of it")
            heard = asyncio.run(play_to_pages(outcomes[SETTINGS[0]], load_media(media)))
            figures += page_figures(heard)
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
        (
            "Page: what came to the box with BBR, sent once more to the real page in Chromium at"
            " the same distances, sound alone; its element is looked at every 10 ms. Chromium goes"
            " on later after each time it ran dry, whatever came meanwhile."
        ),
        "Not tried here: a radio link whose rate changes by itself.",
    ]


if __name__ == "__main__":
    main()
