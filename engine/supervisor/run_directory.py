"""The run directory, by which `engine status` and `engine stop` find a running engine.

    $XDG_RUNTIME_DIR/kraken-engine/NAME, or /tmp/kraken-engine-UID/NAME       mode 0700
        lock       held by the engine while it runs; its text is the engine's pid
        control    its Unix socket, mode 0600
        router     the order router's, for `engine orders`, `cancel`, `halt`: it answers though a strategy hangs
        token      the order router's, for the private feed
        state/     journal and history of an account at the local venue: they end with it

A lock dies with its process, so a directory left by `kill -9` can be reused as it is.
"""

import errno
import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import Final

from engine.errors import ConfigError

SOCKET_PATH_BYTES_MAX = 107  # unix(7)
ATTEMPTS_MAX: Final = 100  # to make what other engines remove at their ends, each in a moment
# Who asks whether an engine runs locks it for a moment, too: so often, and so far apart, is
# it tried before an engine is said to run.
LOOKS_MAX: Final = 5
LOOK_S: Final = 0.01


class RunDirectory:
    """The run directory of the engine of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        base = os.environ.get("XDG_RUNTIME_DIR")
        # As for the state directory, only an absolute path counts: `engine stop` may run in
        # another directory.
        is_set = base is not None and Path(base).is_absolute()
        root = Path(base or "") / "kraken-engine" if is_set else Path(f"/tmp/kraken-engine-{os.getuid()}")
        self.path = root / name
        self.control_path = self.path / "control"
        self.router_path = self.path / "router"
        self.token_path = self.path / "token"
        self.state_path = self.path / "state"
        self._lock_path = self.path / "lock"
        # Held while the engine runs; -1 otherwise.
        self._lock_fd = -1

    def acquire(self) -> None:
        """Create and lock the directory.

        Raises ConfigError when another engine of this name runs, or it cannot be created.
        """
        try:
            self._acquire()
        except OSError as error:
            raise ConfigError(
                f"the run directory {self.path} cannot be made ({(error.strerror or str(error)).lower()}); set "
                "XDG_RUNTIME_DIR to a directory of your own that can be written"
            ) from None

    def _acquire(self) -> None:
        longest = max(len(os.fsencode(path)) for path in self._sockets)
        if longest > SOCKET_PATH_BYTES_MAX:
            raise ConfigError(
                f"{self.path} is too long for the sockets in it, by {longest - SOCKET_PATH_BYTES_MAX} characters; set "
                "XDG_RUNTIME_DIR to a shorter one"
            )
        for left in reversed(range(ATTEMPTS_MAX)):
            try:
                fd = self._locked()
                break
            except (FileNotFoundError, FileExistsError):
                if not left:
                    raise
        shutil.rmtree(self.state_path, ignore_errors=True)  # left by an engine that was killed
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._lock_fd = fd
        os.register_at_fork(after_in_child=self._forked)
        for path in self._sockets:  # left by an engine that was killed
            path.unlink(missing_ok=True)

    def _locked(self) -> int:
        """Make the directory and lock it; returns the lock's descriptor.

        Raises FileNotFoundError or FileExistsError if an engine that is ending has removed
        a part of it meanwhile.
        """
        root = self.path.parent
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if root.stat().st_uid != os.getuid():
            raise ConfigError(f"{root} belongs to another user; set XDG_RUNTIME_DIR to a directory of your own")
        root.chmod(0o700)
        self.path.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(fd)
            if not os.path.samestat(os.fstat(fd), self._lock_path.stat()):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._lock_path))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _take(self, fd: int) -> None:
        """Lock it for this process. Raises ConfigError if another engine holds the lock."""
        for left in reversed(range(LOOKS_MAX)):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not left:
                    pid = os.read(fd, 20).decode() or "unknown"
                    raise ConfigError(
                        f"an engine named {self.name} is running already (pid {pid}); stop it with `engine stop`, "
                        "or give this one another --name"
                    ) from None
                time.sleep(LOOK_S)
            else:
                return

    def _forked(self) -> None:
        """Drop the lock in a process that a strategy has forked, which may outlive the
        engine.
        """
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    @property
    def _sockets(self) -> tuple[Path, ...]:
        return (self.control_path, self.router_path, self.token_path)

    def holder(self) -> str | None:
        """The pid of the running engine of this name; None if there is none.

        Raises ConfigError if this user lacks the permission to find out.
        """
        try:
            fd = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ConfigError(_unknowable(self._lock_path, error)) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(fd, 20).decode() or "unknown"
        finally:
            os.close(fd)
        return None

    def others(self) -> list[str]:
        """The names of this user's other running engines. Raises as `holder`."""
        try:
            names = sorted(path.name for path in self.path.parent.iterdir() if path.name != self.name)
        except (FileNotFoundError, NotADirectoryError):  # no engine has run yet
            return []
        except OSError as error:
            raise ConfigError(_unknowable(self.path.parent, error)) from None
        return [name for name in names if RunDirectory(name).holder() is not None]

    def release(self) -> None:
        """Remove the directory and unlock it."""
        if self._lock_fd < 0:
            return
        for path in self._sockets:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.state_path, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock_fd)
        self._lock_fd = -1
        for path in (self.path, self.path.parent):
            try:
                path.rmdir()
            except OSError:
                return  # other engines run there


def _unknowable(path: Path, error: OSError) -> str:
    return (
        f"whether an engine runs cannot be seen: {path}: {(error.strerror or str(error)).lower()}; ask as the user who "
        "runs it (`sudo -u USER …`), with the same XDG_RUNTIME_DIR"
    )
