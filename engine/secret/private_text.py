"""Where texts come from that nobody else may read, and how they reach a child process: keys
and tokens.

    a file of mode 0600, the desktop's keyring, a variable of the environment, which is wiped   ─► a text
    hand_over_text ─ sealed memfd, without a name, gone with its last descriptor ─► take_over_text
"""

import ctypes
import errno
import fcntl
import importlib
import os
import stat
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError

DIRECTORY_VARIABLE: Final = "CREDENTIALS_DIRECTORY"  # of systemd's LoadCredential=
KEYRING_NAME: Final = "kraken-engine"  # the service under which the desktop's keyring has them
ENVIRONMENT: Final = "the environment"  # as a source, in words
SECRET_VARIABLES: Final = ("KRAKEN_API_KEY", "KRAKEN_API_SECRET", "KRAKEN_NOTICE_")  # how their names begin
FILE_BYTES_MAX: Final = 16 * 1024
GROUP_AND_OTHERS: Final = 0o077
OTHERS: Final = 0o007

_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def read_private(path: Path, *, forbidden: int, holds: str, any_owner: bool = False) -> str:
    """The text of a file that no other user can read; raises ConfigError with a remedy if
    one can.

    `forbidden` are the permissions that it must not have; `holds` says what it is to hold,
    for the remedy.
    """
    with _private_file(path, forbidden=forbidden, holds=holds, any_owner=any_owner) as fd:
        raw = os.read(fd, FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} is longer than {FILE_BYTES_MAX:,} bytes, too long for {holds}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text; write {holds} into it") from None


def check_private(path: Path, *, forbidden: int, holds: str, any_owner: bool = False) -> None:
    """Raise what `read_private` raises for a file that cannot be read, or can be read by
    others; its text is not looked at."""
    with _private_file(path, forbidden=forbidden, holds=holds, any_owner=any_owner):
        pass


@contextmanager
def _private_file(path: Path, *, forbidden: int, holds: str, any_owner: bool) -> Iterator[int]:
    try:
        # Non-blocking: opening a named pipe would wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(f"{path} is a symbolic link; name the file that holds {holds} itself") from None
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{path} cannot be read: {reason}; name a file that holds {holds}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path} is not a file; name a file that holds {holds}")
        if status.st_uid != os.geteuid() and not any_owner:
            raise ConfigError(
                f"{path} belongs to another user; copy it into a file of your own and run chmod 600 on that"
            )
        if status.st_mode & forbidden:
            mode = stat.S_IMODE(status.st_mode)
            raise ConfigError(f"{path} can be read by other users (mode {mode:04o}); run: chmod 600 {path}")
        yield fd
    finally:
        os.close(fd)


def open_keyring(setting: str) -> Any:
    """The package keyring, which is optional; raises ConfigError that names the setting
    which asks for it when it is not installed.
    """
    try:
        return importlib.import_module("keyring")
    except ImportError:
        raise ConfigError(
            f"{setting} needs the package keyring; install kraken-engine[keyring], or set {setting} = false"
        ) from None


def wipe_variable(name: str) -> None:
    """Overwrite a variable where the kernel and `ps` read it; deleting it would leave the
    text there.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    address = libc.getenv(name.encode())
    if address:
        ctypes.memset(address, ord("x"), len(ctypes.string_at(address)))


def forget_variables(environment: MutableMapping[str, str] = os.environ) -> None:
    """Wipe every variable that may hold a key, an address or a token, also those that this
    process has no use for. Call it before strategies are loaded and children are started.
    """
    for name in [name for name in environment if name.startswith(SECRET_VARIABLES)]:
        if environment is os.environ:
            wipe_variable(name)
        del environment[name]


def hand_over_text(text: bytes) -> int:
    """A descriptor for a child process to inherit: a sealed memfd with the text, which may
    be empty.

    It is closed by exec unless it is passed on.
    """
    fd = os.memfd_create("credentials", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, text)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def take_over_text(fd: int) -> bytes:
    """The text in an inherited descriptor, which is closed."""
    try:
        # Read at an offset: the file position is shared with others who inherited the
        # descriptor.
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
