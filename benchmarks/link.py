"""A bad line between two network namespaces: a packet relay on TUN (root, Linux, iproute2).

One namespace is the box's, one the hub's; each has a TUN device for the other, and
``link_relay.py`` carries packets between them as a :class:`Shape` says: rate, delay, loss, black
holes and resets. Packets are really lost, which a proxy of TCP streams cannot do. TCP is Reno at
both ends: every kernel lets a namespace choose it, and on lines this slow cubic does the same.

From Python: ``with linked(shape) as link: subprocess.run(link.inside("box", argv))``. As a program
it runs one command at each end::

    link.py --kbits 30 --delay-ms 350 --hub "iperf3 -s" -- iperf3 -c 10.77.0.2
"""

import fcntl
import os
import shlex
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import msgspec

from benchmarks.link_relay import Counts, Order
from benchmarks.link_shape import End, Shape, cuts_every_twelve_s, even_shape
from benchmarks.report import parser

ADDRESSES: dict[End, str] = {"box": "10.77.0.1", "hub": "10.77.0.2"}
CONGESTION_CONTROL = "reno"
_TUN = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_PREFIX = "schoolnode-link"
_DEVICE_PACKETS = 10_000
_STOP_S_MAX = 10.0
_serial = count()


class Link:
    """A link that is up; see :func:`linked`."""

    def __init__(self, spaces: dict[End, str], relay: subprocess.Popen[bytes]) -> None:
        self._spaces = spaces
        self._relay = relay

    def reshape(self, shape: Shape, capture: Path | None = None) -> None:
        """Let the link work so from now on, with counts from zero and nothing under way.

        ``capture`` is a pcap file of what both ends send; it is whole after :meth:`counts`.
        """
        self._order(Order(shape=shape, capture=str(capture) if capture else None))

    def counts(self) -> Counts:
        """Return what passed since the shape was set."""
        return self._order(Order())

    def inside(self, end: End, argv: Sequence[str]) -> list[str]:
        """Return the command that runs ``argv`` at one end; it keeps the process id."""
        return ["ip", "netns", "exec", self._spaces[end], *argv]

    def _order(self, order: Order) -> Counts:
        assert self._relay.stdin is not None
        assert self._relay.stdout is not None
        self._relay.stdin.write(msgspec.json.encode(order) + b"\n")
        self._relay.stdin.flush()
        line = self._relay.stdout.readline()
        if not line:
            raise RuntimeError("the relay has ended; its error is above")
        return msgspec.json.decode(line, type=Counts)


def missing_need() -> str | None:
    """Return why no link can be made here, with the remedy; None when one can."""
    if shutil.which("ip") is None:
        return "ip is missing; run: apt install iproute2"
    if os.geteuid() != 0:
        return "network namespaces need root; run as root"
    if not _TUN.exists():
        return f"{_TUN} is missing; run: modprobe tun"
    return None


@contextmanager
def linked(shape: Shape, capture: Path | None = None) -> Iterator[Link]:
    """Make a link for the time of the block; raises RuntimeError where that cannot be."""
    if reason := missing_need():
        raise RuntimeError(reason)
    _sweep()
    number = next(_serial)
    spaces: dict[End, str] = {end: f"{_PREFIX}-{os.getpid()}-{number}-{end}" for end in ADDRESSES}
    with ExitStack() as stack:
        devices = {end: _make_end(stack, end, space) for end, space in spaces.items()}
        program = str(Path(__file__).with_name("link_relay.py"))
        relay = subprocess.Popen(
            [sys.executable, program, *(f"--{end}={device}" for end, device in devices.items())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=list(devices.values()),
        )
        stack.callback(_stop, relay)
        link = Link(spaces, relay)
        link.reshape(shape, capture)
        yield link


def _make_end(stack: ExitStack, end: End, space: str) -> int:
    """Make a namespace with a TUN device in it; return the device's descriptor."""
    _ip("netns", "add", space)
    stack.callback(_ip, "netns", "del", space)
    device = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, device)
    wish = struct.pack("16sH22x", b"snlink%d", _IFF_TUN | _IFF_NO_PI)
    made = fcntl.ioctl(device, _TUNSETIFF, wish)
    name = made[:16].rstrip(b"\0").decode()
    _ip("link", "set", "dev", name, "netns", space, "name", "line")
    settings = {
        "net/ipv4/tcp_congestion_control": CONGESTION_CONTROL,
        "net/ipv6/conf/all/disable_ipv6": "1",
    }
    writes = "; ".join(f"echo {value} > /proc/sys/{name}" for name, value in settings.items())
    _ip("netns", "exec", space, "sh", "-ec", writes)
    other = ADDRESSES["hub" if end == "box" else "box"]
    _ip("-n", space, "address", "add", ADDRESSES[end], "peer", other, "dev", "line")
    # The line's queue is the shape's; the device's own is to drop nothing while the relay waits.
    _ip("-n", space, "link", "set", "dev", "line", "txqueuelen", str(_DEVICE_PACKETS))
    for each in ("lo", "line"):
        _ip("-n", space, "link", "set", "dev", each, "up")
    return device


def _stop(relay: subprocess.Popen[bytes]) -> None:
    assert relay.stdin is not None
    assert relay.stdout is not None
    relay.stdin.close()
    try:
        relay.wait(_STOP_S_MAX)
    except subprocess.TimeoutExpired:
        relay.kill()
        relay.wait()
    relay.stdout.close()


def _sweep() -> None:
    """Take down what a killed run left behind."""
    for line in _ip("netns", "list").splitlines():
        space = line.split()[0]
        if space.startswith(f"{_PREFIX}-"):
            owner = space.removeprefix(f"{_PREFIX}-").split("-")[0]
            if not Path(f"/proc/{owner}").exists():
                _ip("netns", "del", space)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    """Run a command at each end and print what passed."""
    options = parser(__doc__)
    options.add_argument("--kbits", type=float, help="rate of each direction, 1,000 bits a second")
    options.add_argument("--delay-ms", type=float, default=0.0, help="delay of each direction")
    options.add_argument("--loss", type=float, default=0.0, help="chance that a packet is lost")
    options.add_argument("--cuts", choices=("black hole", "reset"), help="4 s after every 8 s")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--capture", type=Path, help="write a pcap file")
    options.add_argument("--hub", default="", help="command at the hub's end")
    options.add_argument("box", nargs="+", help="command at the box's end")
    given = options.parse_args()
    shape = even_shape(
        kbits=given.kbits,
        delay_ms=given.delay_ms,
        loss=given.loss,
        cuts=cuts_every_twelve_s(given.cuts) if given.cuts else (),
        seed=given.seed,
    )
    with ExitStack() as stack:
        link = stack.enter_context(linked(shape, given.capture))
        if given.hub:
            hub = subprocess.Popen(link.inside("hub", shlex.split(given.hub)))
            stack.callback(hub.wait)
            stack.callback(hub.terminate)
            time.sleep(1)
        status = subprocess.run(link.inside("box", given.box), check=False).returncode
        counts = link.counts()
    print(msgspec.json.format(msgspec.json.encode(counts), indent=0 if given.json else 2).decode())
    sys.exit(status)


if __name__ == "__main__":
    main()
