"""One signer per API key on this host, the floor under its nonces, and its use of Kraken's
counter.

    $XDG_STATE_HOME/kraken-engine/keys/FINGERPRINT         mode 0600, in a directory of mode 0700
        kraken-engine key 1
        pid 0000012345                       who signs now, or did last
        nonce 00001795258234000000000        no nonce below was left unused: the next one is above it
        locked 00000000000000000000000       Kraken locked the key out until then (ns since 1970), or 0
        lockout 00000… 3f6a…                 the same by CLOCK_MONOTONIC, and the boot that it belongs to
        calls 000007250 starter 00000…       points × 1000 of Kraken's counter, the tier, and when: CLOCK_MONOTONIC,
              00000… 3f6a…                   wall clock, and the boot that the former belongs to
        crc 1a2b3c4d

Kraken accepts a nonce only when it is above all that it has seen of a key, for ever. Two
programs that sign with one key spoil each other's calls, so the file is locked while one
does; a lock dies with its process.

The floor is reserved ahead, one block of ten seconds at a time: it is written before the
first nonce of the block is used, so a killed process never repeats one, and a call that
changes orders costs no write. It is not forced to the disk: after a loss of power the clock
itself has moved on. Where the disk does not take it, calls go on, since the clock alone is
nearly always above the floor, and it is written as soon as the disk does: a clock that is
set back would leave a successor below what Kraken has seen. One that is below, with all its
calls refused until the clock has come so far, or Kraken locks the key out, leaps ahead.

The counter is Kraken's and goes on when a process dies, so its successor must not assume
zero; so is a lockout, which each call prolongs. Their age is measured by the monotonic
clock, and only after a boot by the wall clock, which may have been set.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import structlog

from engine.clock import Clock, boot_id
from engine.errors import ConfigError, MisuseError
from engine.net.lockout import LOCKOUT_NS
from engine.secret import fingerprint
from engine.state_directory import state_root
from engine.units import NS_PER_S, WallNs

BLOCK_NS = 10 * NS_PER_S  # of nonces; a restart continues at most so far ahead of the clock
# How far nonces leap, one leap after the other, while Kraken refuses them: some 70 minutes
# in all.
LEAPS_NS = tuple(seconds * NS_PER_S for seconds in (1, 7, 56, 448, 3584))
FILE_BYTES_MAX = 512
TITLE = "kraken-engine key 1"
TIER_CHARS_MAX = 16
BOOT_CHARS_MAX = 36

log = structlog.get_logger("key_lock")


def keys_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory for the files of this user's keys."""
    return state_root(environment) / "keys"


class CallsNoted(NamedTuple):
    """The state of Kraken's counter of the key's calls at one moment."""

    millipoints: int
    tier: str
    mono_ns: int
    wall_ns: int
    boot: str

    def age_ns(self, clock: Clock, boot: str) -> int:
        """The least age of the note; 0 where no clock can tell."""
        if self.boot == boot and boot:
            return max(0, clock.mono_ns() - self.mono_ns)
        return max(0, clock.wall_ns() - self.wall_ns)

    @property
    def line(self) -> str:
        """The line in the file, always of one length."""
        return (
            f"calls {self.millipoints:09d} {self.tier or '-':{TIER_CHARS_MAX}.{TIER_CHARS_MAX}} "
            f"{self.mono_ns:023d} {self.wall_ns:023d} {self.boot or '-':{BOOT_CHARS_MAX}.{BOOT_CHARS_MAX}}"
        )

    @classmethod
    def read(cls, text: str) -> "CallsNoted":
        """Parse the line after its first word; raises ValueError."""
        millipoints, tier, mono_ns, wall_ns, boot = text.split()
        return cls(
            int(millipoints), "" if tier == "-" else tier, int(mono_ns), int(wall_ns), "" if boot == "-" else boot
        )


NO_CALLS = CallsNoted(0, "", 0, 0, "")


class LockoutNoted(NamedTuple):
    """When a lockout ends, by both clocks."""

    until_wall_ns: int
    until_mono_ns: int
    boot: str

    def left_ns(self, clock: Clock, boot: str) -> int:
        """What is left of it; never more than a lockout lasts."""
        if self.boot == boot and boot:
            left_ns = self.until_mono_ns - clock.mono_ns()
        else:
            left_ns = self.until_wall_ns - clock.wall_ns()
        return min(max(0, left_ns), LOCKOUT_NS)

    @property
    def lines(self) -> str:
        """The lines in the file, always of one length."""
        return (
            f"locked {self.until_wall_ns:023d}\n"
            f"lockout {self.until_mono_ns:023d} {self.boot or '-':{BOOT_CHARS_MAX}.{BOOT_CHARS_MAX}}"
        )

    @classmethod
    def read(cls, wall_text: str, mono_text: str) -> "LockoutNoted":
        """Parse the lines, each after its first word; raises ValueError."""
        until_mono_ns, boot = mono_text.split()
        return cls(int(wall_text), int(until_mono_ns), "" if boot == "-" else boot)


NO_LOCKOUT = LockoutNoted(0, 0, "")
BEFORE_BOTH_CLOCKS = "0 -"  # the second line of a lockout, in a file of an engine that wrote the first alone


class KeyLock:
    """Holds the lock: this process signs with the key, and no other on this host, until
    `release`.
    """

    def __init__(self, api_key: str, directory: Path | None = None, *, boot: str | None = None) -> None:
        """Raises ConfigError when another process signs with the key, or the directory
        cannot be used.

        `boot` is `clock.boot_id`, except in tests.
        """
        self._boot = boot_id() if boot is None else boot
        name = fingerprint(api_key)
        self.path = (directory or keys_directory()) / name
        self._fd = _open_locked(self.path, name)
        self._reserved, self._lockout, self._calls = self._read()
        # The last nonce used, or the end of the block that an earlier process may have
        # used.
        self._last = self._reserved
        # Leaps since Kraken last accepted a nonce.
        self._leaps = 0
        # Does the file not say what it should? Then the disk did not take it.
        self._is_behind = False
        self._write()

    @property
    def floor(self) -> int:
        """Every later nonce is above this."""
        return self._last

    def next_nonce(self, wall_ns: WallNs) -> int:
        """The nonce of a call made now: the time, or the last nonce plus one if the clock
        has not advanced.
        """
        if self._fd < 0:
            raise MisuseError("the key is released")
        self._last = max(wall_ns, self._last + 1)
        if self._last > self._reserved:
            self._reserved = self._last + BLOCK_NS
            self._write()
        return self._last

    def leap(self) -> None:
        """Go on further above the last nonce, since Kraken refuses one after the other as
        below what it has seen. After some leaps without success it has no effect: then the
        key's nonces are not made of the time.
        """
        if self._leaps == len(LEAPS_NS):
            return
        self._last += LEAPS_NS[self._leaps]
        self._leaps += 1
        log.warning("nonces leap ahead", by_s=LEAPS_NS[self._leaps - 1] // NS_PER_S)

    def note_accepted(self) -> None:
        """Kraken has accepted the last nonce."""
        self._leaps = 0

    def catch_up(self) -> None:
        """Write what the disk did not take, if anything; call it often."""
        if self._is_behind and self._fd >= 0:
            self._write()

    def note_lockout(self, clock: Clock) -> None:
        """Store that Kraken has locked the key out, for later processes."""
        self._lockout = LockoutNoted(clock.wall_ns() + LOCKOUT_NS, clock.mono_ns() + LOCKOUT_NS, self._boot)
        self._write()

    def lockout_left_ns(self, clock: Clock) -> int:
        """What is left of a lockout that was stored last."""
        return self._lockout.left_ns(clock, self._boot)

    def note_calls(self, tier: str, points: float, clock: Clock) -> None:
        """Store the state of Kraken's counter by our own count, from which a later process
        continues.
        """
        self._calls = CallsNoted(int(points * 1000), tier, clock.mono_ns(), clock.wall_ns(), self._boot)
        if self._fd >= 0:
            self._write()

    def calls_before(self, clock: Clock) -> tuple[str, float, int]:
        """Tier (empty without a note), points, and their age in ns, as stored last."""
        return self._calls.tier, self._calls.millipoints / 1000, self._calls.age_ns(clock, self._boot)

    def release(self) -> None:
        """Unlock the key; may be called again. Unused reserved nonces are given back."""
        if self._fd < 0:
            return
        self._reserved = self._last
        self._write()
        os.close(self._fd)
        self._fd = -1

    def _read(self) -> tuple[int, LockoutNoted, CallsNoted]:
        text = os.pread(self._fd, FILE_BYTES_MAX, 0)
        if not text:
            return 0, NO_LOCKOUT, NO_CALLS
        body, _, crc = text.decode("ascii", "replace").rpartition("crc ")
        fields = dict(line.split(" ", 1) for line in body.splitlines() if " " in line)
        try:
            if int(crc, 16) != crc32(body.encode()) or not body.startswith(TITLE):
                raise ValueError
            calls = CallsNoted.read(fields["calls"]) if "calls" in fields else NO_CALLS
            lockout = LockoutNoted.read(fields["locked"], fields.get("lockout", BEFORE_BOTH_CLOCKS))
            return int(fields["nonce"]), lockout, calls
        except (ValueError, KeyError):
            log.warning("nonce floor unreadable, the clock alone decides", path=str(self.path))
            return 0, NO_LOCKOUT, NO_CALLS

    def _write(self) -> None:
        body = (
            f"{TITLE}\npid {os.getpid():010d}\nnonce {self._reserved:023d}\n{self._lockout.lines}\n{self._calls.line}\n"
        )
        text = f"{body}crc {crc32(body.encode()):08x}\n".encode()
        try:
            # Always of one length, over the old one: a killed process leaves the one or the
            # other.
            os.pwrite(self._fd, text, 0)
            if os.fstat(self._fd).st_size != len(text):
                os.ftruncate(self._fd, len(text))
            self._is_behind = False
        except OSError as error:
            if not self._is_behind:
                log.error("nonce floor not written", path=str(self.path), reason=(error.strerror or str(error)).lower())
            self._is_behind = True


def _open_locked(path: Path, name: str) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_uid != os.geteuid():
            raise ConfigError(f"{path.parent} belongs to another user; set XDG_STATE_HOME to a directory of your own")
        path.parent.chmod(0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"{path} cannot be opened ({reason}); set XDG_STATE_HOME to a directory that can be written"
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = _pid_in(os.pread(fd, FILE_BYTES_MAX, 0))
        os.close(fd)
        raise ConfigError(
            f"the process {pid} uses this API key ({name}) already; stop it, or give this engine a key of its own: "
            "nonces of two programs would spoil each other"
        ) from None
    return fd


def _pid_in(text: bytes) -> str:
    for line in text.splitlines():
        if line.startswith(b"pid ") and line[4:].isdigit():
            return str(int(line[4:]))
    return "of unknown number"
