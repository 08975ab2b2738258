"""The project's programs as processes of their own that need not load their code again.

A server process loads the programs once and forks itself for each start: what follows, from the
command line's words on, is the program's own, in its own process. That the scripts themselves start
is shown by the demo and by ``test_bad_input.py``.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_REQUEST_BYTES_MAX = 64 * 1024
_ANSWER_BYTES = 8


class WarmProgram:
    """A process that was started from a loaded server; what subprocess.Popen's parts do here."""

    def __init__(self, argv: Sequence[str], answers: socket.socket) -> None:
        self.args = argv
        self.returncode: int | None = None
        self._answers = answers
        self.pid = self._next()

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout_s: float) -> int:
        """Return how it ended, a signal as its negative number; subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout_s)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout_s)
            self.returncode = self._next()
            self._answers.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _next(self) -> int:
        answer = self._answers.recv(_ANSWER_BYTES, socket.MSG_WAITALL)
        assert len(answer) == _ANSWER_BYTES, f"nobody knows what became of {self.args}"
        return int.from_bytes(answer, "big", signed=True)


def start(
    argv: Sequence[str], *, output: int, errors: int, in_background: bool = False
) -> WarmProgram:
    """Start ``schoolnode`` or ``schoolnode-hub``, by its path, with its output to two descriptors.

    In the background it begins with SIGINT ignored, as a shell starts what it puts there.
    """
    asked, answers = socket.socketpair()
    request = json.dumps({"argv": list(argv), "in_background": in_background}).encode()
    with asked:
        socket.send_fds(_server(), [request], [output, errors, asked.fileno()])
    return WarmProgram(argv, answers)


@functools.cache
def _server() -> socket.socket:
    """Start the server; it ends with this process, which alone holds the socket's other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=Path(__file__).parents[2],
        )
    atexit.register(_end, server, ours)
    return ours


def _end(server: subprocess.Popen[bytes], ours: socket.socket) -> None:
    ours.close()
    server.wait()


def _serve(requests: socket.socket) -> Callable[[], None] | None:
    """Fork for each request; returns the program in the fork, None when nobody asks any more."""
    # Loaded before the first fork, and shared by all.
    import edge.__main__  # noqa: PLC0415 - the tests' own process does without
    import edge.command_line  # noqa: PLC0415
    import edge.daemon_process  # noqa: PLC0415 - what main loads
    import hub.__main__  # noqa: PLC0415

    gc.freeze()  # a fork that looked at all of it at its end would copy it all
    programs = {"schoolnode": edge.__main__.main, "schoolnode-hub": hub.__main__.main}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are nobody's to wait for
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tests' own process ends the programs
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES_MAX, 3)
        if not request:
            return None
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output, errors, answers = descriptors
    program = os.fork()
    if program:
        _keep(program, socket.socket(fileno=answers))
    os.dup2(output, 1)
    os.dup2(errors, 2)
    for descriptor in descriptors:
        os.close(descriptor)
    wish = json.loads(request)
    if not wish["in_background"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = wish["argv"]
    return programs[Path(sys.argv[0]).name]


def _keep(program: int, answers: socket.socket) -> None:
    """Tell the program's pid, then how it ended; the keeper's whole life."""
    with contextlib.suppress(OSError):  # nobody listens any more
        answers.sendall(program.to_bytes(_ANSWER_BYTES, "big", signed=True))
    _, status = os.waitpid(program, 0)
    code = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(OSError):
        answers.sendall(code.to_bytes(_ANSWER_BYTES, "big", signed=True))
    os._exit(0)


if __name__ == "__main__":
    begun = _serve(socket.socket(fileno=int(sys.argv[1])))
    if begun is not None:
        sys.exit(begun())
