"""Files that hold secrets: readable by one user, and either old or new after a power cut."""

import os
import stat
from pathlib import Path

from provisioning.errors import IdentityDamagedError, SetupError

FILE_BYTES_MAX = 64 * 1024
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_folder(folder: Path) -> None:
    """Make ``folder`` with mode 0700; raise SetupError when it cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & OTHERS:
            folder.chmod(0o700)
    except OSError as error:
        raise SetupError(
            f"{folder}: cannot be made a private folder ({error.strerror}); check its owner"
        ) from error


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, mode 0600: temporary name, fsync, rename, fsync of folder.

    Raises SetupError when the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise SetupError(
            f"{path}: cannot be written ({error.strerror}); check space and owner"
        ) from error


def rename_durably(source: Path, target: Path) -> None:
    """Let ``source`` take the place of ``target`` so that a power cut leaves one of the two."""
    try:
        source.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise SetupError(f"{target}: cannot be replaced ({error.strerror})") from error


def remove_durably(path: Path) -> None:
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def read_private(path: Path, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """Return the bytes of ``path``.

    Raises IdentityDamagedError when it is missing, over ``bytes_max``, or open to other users.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise IdentityDamagedError(
            f"{path}: cannot be read ({error.strerror}); restore the folder from its backup"
        ) from error
    if mode & OTHERS:
        raise IdentityDamagedError(f"{path}: is open to other users; run chmod 600 {path}")
    if len(content) > bytes_max:
        raise IdentityDamagedError(f"{path}: is larger than any such file; restore it")
    return content


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
