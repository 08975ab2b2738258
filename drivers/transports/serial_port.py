"""Serial ports: opened, configured and locked by pyserial, then read through the event loop."""

import errno
import termios
from pathlib import Path

import serial

from drivers.errors import SetupError, UnreachableError
from drivers.transports.byte_port import BytePort, LineSettings

_GONE = frozenset({errno.EIO, errno.ENXIO, errno.ENODEV})


class SerialPort(BytePort):
    """An open, exclusively locked serial port."""

    # USB adapters deliver in bursts (FTDI waits 16 ms by default).
    pause_s = 0.1

    def __init__(self, path: Path, settings: LineSettings) -> None:
        """Open the port; SetupError with its remedy when that is for a person to mend."""
        self.path = path
        self._serial = _open(path, settings)
        super().__init__(str(path), self._serial.fileno(), settings)

    @property
    def name(self) -> str:
        """The last part of the path, by which devices on this port are called."""
        return self.path.name

    def set_baud(self, settings: LineSettings) -> None:
        """Change speed and framing; what was received at the old speed is dropped."""
        try:
            self._serial.apply_settings(
                {
                    "baudrate": settings.baud,
                    "bytesize": settings.data_bits,
                    "parity": settings.parity,
                    "stopbits": settings.stop_bits,
                }
            )
        except (serial.SerialException, OSError, termios.error) as error:
            # pyserial keeps the number of what happened only as the cause.
            happened = error.__context__ or error
            is_gone = happened.args[:1] and happened.args[0] in _GONE
            refused = f"{self.path} does not take {settings.baud} baud ({error})"
            self._lost = self._loss(str(error)) if is_gone else refused
            self._fail("")
            raise UnreachableError(self._lost) from error
        self.settings = settings
        self._buffer.clear()

    def _close(self) -> None:
        self._serial.close()

    def _loss(self, cause: str) -> str:
        return f"{self.path} was unplugged ({cause})" if cause else f"{self.path} was unplugged"


def _open(path: Path, settings: LineSettings) -> serial.Serial:
    line = serial.Serial()
    line.port = str(path)
    line.baudrate = settings.baud
    line.bytesize = settings.data_bits
    line.parity = settings.parity
    line.stopbits = settings.stop_bits
    line.dtr = settings.dtr
    line.rts = settings.rts
    line.timeout = 0
    line.exclusive = True
    try:
        line.open()
    except (OSError, termios.error) as error:
        raise _open_error(path, error) from error
    except ValueError as error:
        raise SetupError(f"{path} cannot run at {settings.baud} baud; use another rate") from error
    return line


def _open_error(path: Path, error: OSError | termios.error) -> SetupError | UnreachableError:
    match error.args[0] if error.args else None:
        case errno.ENOENT:
            return SetupError(f"{path} is not there; plug the adapter in or correct the port")
        case errno.EACCES | errno.EPERM:
            return SetupError(
                f"{path} may not be opened by this user; add the user to the group dialout"
            )
        case errno.EAGAIN | errno.EBUSY:
            return SetupError(f"{path} is in use by another program; stop that program")
        case number if number in _GONE:
            return UnreachableError(f"{path} does not respond; unplug the adapter and plug it in")
        case _:
            return SetupError(f"{path} is no usable serial port ({error}); correct the port")
