"""``schoolnode``: the daemon by itself, or the command line."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from edge.errors import BoxSetupError
from provisioning.errors import ProvisioningError


def main() -> None:
    """Run what is asked for; an error is one sentence on standard error and exit code 1."""
    # What a service manager sends ends the daemon as Ctrl-C does: in order, with nothing lost.
    # A shell that starts it in the background would have it ignore both.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    daemon = _plain_daemon(sys.argv[1:])
    try:
        if daemon is not None:
            # aiohttp reads all public authorities when it is imported, 2 MB for good; the box
            # trusts its district's root alone.
            os.environ["SSL_CERT_FILE"] = os.devnull
            from edge.daemon_process import run_daemon  # noqa: PLC0415 - one of the two is loaded

            run_daemon(daemon.config, _now_ms, verbose=daemon.verbose)
        else:
            from edge.command_line import app  # noqa: PLC0415 - one of the two is loaded

            app()
    except (BoxSetupError, ProvisioningError) as error:
        from edge.terminal import retold  # noqa: PLC0415 - a daemon that runs needs no terminal

        sys.stderr.write(f"schoolnode: {retold(str(error))}\n")
        sys.exit(1)


def _plain_daemon(argv: Sequence[str]) -> argparse.Namespace | None:
    """Return the options of a plain ``edge run``; None for all that the command line reads.

    What only the command line needs is 6 MB, which a daemon would keep for good.
    """
    if list(argv[:2]) != ["edge", "run"]:
        return None
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", "-c", type=Path, default=Path("box.toml"))
    parser.add_argument("--verbose", "-v", action="store_true")
    try:
        options, others = parser.parse_known_args(argv[2:])
    except argparse.ArgumentError:
        return None
    return None if others else options


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
