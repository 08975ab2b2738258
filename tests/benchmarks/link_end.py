"""What runs at an end of a link under test: ``link_end.py COMMAND [NUMBER]``; tells JSON lines."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable

HUB = ("10.77.0.2", 7000)
DATAGRAM_BYTES = 100
QUIET_S = 1.0
SO_RCVBUFFORCE = 33  # Linux's number, which Python does not name
ROOM_BYTES = 16 * 1024 * 1024


def tell(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def echo() -> None:
    """Send back all that comes by TCP and UDP; tells how each connection ended."""
    datagrams = roomy_socket()
    datagrams.bind(HUB)
    threading.Thread(target=echo_datagrams, args=(datagrams,), daemon=True).start()
    with socket.create_server(HUB) as listener:
        tell(ready=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=echo_stream, args=(connection,), daemon=True).start()


def roomy_socket() -> socket.socket:
    """Return a UDP socket in which a whole flood can wait: the link is tested, not its buffer."""
    datagrams = socket.socket(type=socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM_BYTES)
    return datagrams


def echo_datagrams(datagrams: socket.socket) -> None:
    while True:
        data, sender = datagrams.recvfrom(2048)
        datagrams.sendto(data, sender)


def echo_stream(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError as error:
            tell(ended=type(error).__name__)
        else:
            tell(ended="closed")


def ping(times: int) -> None:
    """Tell each round trip of a datagram, one after the other, in seconds."""
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.connect(HUB)
        round_trips = []
        for _ in range(times):
            began_s = time.monotonic()
            datagrams.send(bytes(DATAGRAM_BYTES))
            datagrams.recv(2048)
            round_trips.append(time.monotonic() - began_s)
    tell(round_trips=round_trips)


def flood(times: int) -> None:
    """Send datagrams without waiting; tell how many came back."""
    came_back = 0
    with roomy_socket() as datagrams:
        datagrams.connect(HUB)
        for _ in range(times):
            datagrams.send(bytes(DATAGRAM_BYTES))
            time.sleep(0.0002)
        datagrams.settimeout(QUIET_S)
        try:
            while datagrams.recv(2048):
                came_back += 1
        except TimeoutError:
            pass
    tell(came_back=came_back)


def stream(size: int) -> None:
    """Send so many bytes through one connection and take them back; tell how long it took."""
    began_s = time.monotonic()
    with socket.create_connection(HUB) as connection:
        threading.Thread(target=send_all, args=(connection, size), daemon=True).start()
        came_back = 0
        while data := connection.recv(65536):
            came_back += len(data)
    tell(came_back=came_back, took_s=time.monotonic() - began_s)


def send_all(connection: socket.socket, size: int) -> None:
    connection.sendall(bytes(size))
    connection.shutdown(socket.SHUT_WR)


def hold() -> None:
    """Open a connection; for each line of input, send a byte and tell what came of it."""
    connection = socket.create_connection(HUB)
    connection.sendall(b"a")
    connection.recv(1)
    tell(open=True)
    for line in sys.stdin:
        connection.settimeout(float(line))
        try:
            connection.sendall(b"b")
            tell(got=len(connection.recv(1)))
        except OSError as error:
            tell(failed=type(error).__name__)


def dial() -> None:
    """Try to connect; tell what came of it."""
    try:
        socket.create_connection(HUB, timeout=5).close()
    except OSError as error:
        tell(failed=type(error).__name__)
    else:
        tell(open=True)


COMMANDS: dict[str, Callable[..., None]] = {
    "echo": echo,
    "ping": ping,
    "flood": flood,
    "stream": stream,
    "hold": hold,
    "dial": dial,
}

if __name__ == "__main__":
    command, *numbers = sys.argv[1:]
    COMMANDS[command](*map(int, numbers))
