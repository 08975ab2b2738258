"""The link is what it says it is: its rate, delay, loss and cuts, measured by programs on it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.link import Link, linked, missing_need
from benchmarks.link_shape import Cut, End, Shape, Way, even_shape
from benchmarks.link_trace import read_capture
from tests.system_needs import give_up

PROGRAM = str(Path(__file__).with_name("link_end.py"))


@dataclass
class Running:
    process: "subprocess.Popen[str]"

    def ask(self, line: str = "") -> dict[str, Any]:
        """Send a line of input, if any, and return the next line that is told."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if line:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told


@contextmanager
def started(link: Link, end: End, *arguments: str) -> Iterator[Running]:
    argv = link.inside(end, [sys.executable, "-I", PROGRAM, *arguments])
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def at_box(link: Link, *arguments: str) -> dict[str, Any]:
    with started(link, "box", *arguments) as running:
        return running.ask()


@dataclass
class Laid:
    """A link whose hub's end echoes; ``hub`` tells how connections end."""

    link: Link
    hub: Running


@pytest.fixture
def laid() -> Iterator[Laid]:
    if reason := missing_need():
        give_up(reason)
    with linked(Shape()) as link, started(link, "hub", "echo") as hub:
        assert hub.ask() == {"ready": True}
        yield Laid(link, hub)


def test_a_round_trip_takes_twice_the_delay(laid: Laid) -> None:
    laid.link.reshape(even_shape(delay_ms=40))
    round_trips = at_box(laid.link, "ping", "10")["round_trips"]
    assert min(round_trips) >= 0.080
    assert median(round_trips) < 0.200


def test_delay_of_one_direction_is_only_its_own(laid: Laid) -> None:
    laid.link.reshape(Shape(down=Way(delay_ms=60)))
    assert 0.060 <= median(at_box(laid.link, "ping", "5")["round_trips"]) < 0.200


def test_bytes_pass_no_faster_than_the_rate_and_nearly_as_fast(laid: Laid) -> None:
    laid.link.reshape(Shape(up=Way(kbits=800)))
    told = at_box(laid.link, "stream", "100000")
    assert told["came_back"] == 100_000
    assert 1.0 <= told["took_s"] < 3


def test_so_many_packets_are_lost_as_the_chance_says(laid: Laid) -> None:
    laid.link.reshape(Shape(up=Way(loss=0.1, queue_bytes=1_000_000), seed=7))
    came_back = at_box(laid.link, "flood", "2000")["came_back"]
    counts = laid.link.counts()
    assert (counts.box.packets, counts.box.queue_full, counts.hub.lost) == (2000, 0, 0)
    # Six standard deviations of a binomial draw around 200.
    assert 120 <= counts.box.lost <= 280
    assert came_back == counts.box.arrived == 2000 - counts.box.lost


def test_a_stream_survives_loss_whole(laid: Laid) -> None:
    laid.link.reshape(even_shape(delay_ms=5, loss=0.03, seed=3))
    assert at_box(laid.link, "stream", "60000")["came_back"] == 60_000
    counts = laid.link.counts()
    assert counts.box.lost + counts.hub.lost > 0


def test_a_full_queue_drops_what_comes_on_top(laid: Laid) -> None:
    laid.link.reshape(Shape(up=Way(kbits=1000, queue_bytes=1280)))
    came_back = at_box(laid.link, "flood", "200")["came_back"]
    counts = laid.link.counts()
    assert counts.box.queue_full > 0
    assert came_back == 200 - counts.box.queue_full


def test_a_black_hole_says_nothing_and_lets_the_connection_live(laid: Laid) -> None:
    with started(laid.link, "box", "hold") as box:
        assert box.ask() == {"open": True}
        laid.link.reshape(Shape(cuts=(Cut(kind="black hole", from_s=0, until_s=1.2),)))
        assert box.ask("0.8") == {"failed": "TimeoutError"}
        counts = laid.link.counts()
        assert counts.box.cut == counts.box.packets > 0
        assert (counts.hub.packets, counts.box.resets, counts.hub.resets) == (0, 0, 0)
        # TCP sends the lost byte again once the line is back.
        assert box.ask("20") == {"got": 1}


def test_a_black_hole_of_one_direction_lets_the_other_pass(laid: Laid) -> None:
    cut = Cut(kind="black hole", from_s=0, until_s=60, only="hub")
    laid.link.reshape(Shape(cuts=(cut,)))
    assert at_box(laid.link, "flood", "20") == {"came_back": 0}
    counts = laid.link.counts()
    assert (counts.box.arrived, counts.hub.cut, counts.hub.packets) == (20, 20, 20)


def test_a_reset_ends_the_connection_at_both_ends(laid: Laid) -> None:
    laid.link.reshape(Shape(cuts=(Cut(kind="reset", from_s=0.3, until_s=0.6),)))
    with started(laid.link, "box", "hold") as box:
        assert box.ask() == {"open": True}
        # Nobody sends: the relay itself resets what is open when the cut begins.
        assert laid.hub.ask() == {"ended": "ConnectionResetError"}
        time.sleep(0.5)
        assert box.ask("2")["failed"] in {"ConnectionResetError", "BrokenPipeError"}
    assert at_box(laid.link, "dial") == {"open": True}
    assert laid.hub.ask() == {"ended": "closed"}


def test_who_calls_during_a_reset_is_refused_at_once(laid: Laid) -> None:
    laid.link.reshape(Shape(cuts=(Cut(kind="reset", from_s=0, until_s=60),)))
    assert at_box(laid.link, "dial") == {"failed": "ConnectionRefusedError"}


def test_the_capture_holds_what_both_ends_sent(laid: Laid, tmp_path: Path) -> None:
    laid.link.reshape(even_shape(loss=0.05, seed=5), tmp_path / "line.pcap")
    at_box(laid.link, "stream", "30000")
    counts = laid.link.counts()
    (flow,) = read_capture(tmp_path / "line.pcap")
    assert laid.hub.ask() == {"ended": "closed"}
    assert (flow.up.packets, flow.down.packets) == (counts.box.packets, counts.hub.packets)
    assert (flow.up.ip_bytes, flow.down.ip_bytes) == (counts.box.bytes, counts.hub.bytes)
    assert flow.up.stream_bytes == flow.down.stream_bytes == 30_000


def test_nothing_is_left_when_the_link_is_taken_down() -> None:
    if reason := missing_need():
        give_up(reason)
    with linked(Shape()):
        assert len(spaces_of_this_process()) == 2
    assert spaces_of_this_process() == []


def spaces_of_this_process() -> list[str]:
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return [line for line in left.stdout.splitlines() if f"-{os.getpid()}-" in line]
