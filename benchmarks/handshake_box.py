"""Opens a TLS connection to the hub as a box does, says nothing on it, and ends.

What a link counts meanwhile is what a connection costs before its first message.
"""

import argparse
import socket
import time
from pathlib import Path

from edge.config import load_config
from provisioning.identity import load_identity
from provisioning.tls import box_client_context

_CONNECT_S_MAX = 60.0
_SETTLE_S = 0.3


def main() -> None:
    """Run once."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--config", type=Path, required=True)
    given = options.parse_args()
    identity = load_identity(load_config(given.config).folder / "identity")
    context = box_client_context(identity, lambda: time.time_ns() // 1_000_000)
    hub = (identity.hub_host, identity.hub_port)
    with socket.create_connection(hub, timeout=_CONNECT_S_MAX) as plain:
        # Closed without TLS's farewell, which is not part of the handshake.
        secure = context.wrap_socket(plain, server_hostname=identity.hub_host)
        time.sleep(_SETTLE_S)
        secure.close()


if __name__ == "__main__":
    main()
