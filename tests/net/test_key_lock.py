"""One signer per key, and nonces that never go back: not with the clock, not with a death."""

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import ManualClock
from engine.errors import ConfigError, MisuseError
from engine.net.key_lock import BLOCK_NS, KeyLock, keys_directory
from engine.net.lockout import LOCKOUT_NS, LockedOut, Lockout
from engine.units import NS_PER_S, MonoNs, WallNs
from tests.descriptors import close_as_a_death_would, unwritable

NOW = WallNs(1_795_000_000 * NS_PER_S)


def test_nonces_follow_the_clock_and_never_go_back(tmp_path: Path) -> None:
    """A clock that stands still or steps back an hour changes nothing of that."""
    lock = KeyLock("key", tmp_path)
    nonces = [lock.next_nonce(WallNs(NOW + step)) for step in (0, 0, 5, -3600 * NS_PER_S, 6, BLOCK_NS * 3)]

    assert nonces[0] == NOW
    assert nonces == sorted(set(nonces))
    assert nonces[-1] == NOW + BLOCK_NS * 3
    lock.release()


@given(st.lists(st.tuples(st.integers(-(10**13), 10**13), st.booleans()), max_size=60))
def test_no_nonce_is_used_twice_whatever_dies_when(tmp_path_factory: pytest.TempPathFactory, lives) -> None:
    """Each True is the death of a process: its lock is dropped without a word."""
    directory = tmp_path_factory.mktemp("keys")
    lock, used = KeyLock("key", directory), [0]
    for offset, dies in lives:
        used.append(lock.next_nonce(WallNs(NOW + offset)))
        if dies:
            close_as_a_death_would(directory)
            lock = KeyLock("key", directory)
    lock.release()

    assert all(earlier < later for earlier, later in pairwise(used))


def test_a_release_gives_back_what_was_not_used(tmp_path: Path) -> None:
    """A stopped engine leaves a floor at its last nonce, not ten seconds ahead of the clock."""
    lock = KeyLock("key", tmp_path)
    last = lock.next_nonce(NOW)
    lock.release()
    lock.release()
    successor = KeyLock("key", tmp_path)

    assert successor.floor == last
    assert successor.next_nonce(WallNs(NOW - 1)) == last + 1
    successor.release()
    with pytest.raises(MisuseError):
        successor.next_nonce(NOW)


def test_most_calls_write_nothing(tmp_path: Path) -> None:
    """A block of nonces is reserved at once."""
    lock = KeyLock("key", tmp_path)
    lock.next_nonce(NOW)
    written = lock.path.read_bytes()
    for step in range(1000):
        lock.next_nonce(WallNs(NOW + step * 1_000_000))

    assert lock.path.read_bytes() == written
    lock.release()


SIGNER = """
import sys
from itertools import pairwise
from pathlib import Path
from engine.net.key_lock import KeyLock
from engine.units import WallNs
lock = KeyLock("key", Path(sys.argv[1]))
print(lock.next_nonce(WallNs(int(sys.argv[2]))), flush=True)
sys.stdin.read()
"""


def test_a_second_engine_on_the_key_is_told_who_has_it(tmp_path: Path) -> None:
    """With the process's number; another key is free; and a killed owner leaves lock and floor."""
    owner = subprocess.Popen(
        [sys.executable, "-c", SIGNER, str(tmp_path), str(NOW)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    used = int(owner.stdout.readline())
    with pytest.raises(ConfigError, match=f"the process {owner.pid} uses this API key"):
        KeyLock("key", tmp_path)
    KeyLock("another key", tmp_path).release()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    owner.stdin.close()
    successor = KeyLock("key", tmp_path)

    assert successor.next_nonce(WallNs(NOW - 3600 * NS_PER_S)) > used
    successor.release()


def test_the_files_are_private_and_name_no_key(tmp_path: Path) -> None:
    """The folder is closed to others even when somebody made it open."""
    directory = tmp_path / "state" / "keys"
    directory.mkdir(parents=True, mode=0o755)
    lock = KeyLock("public part", directory)

    assert directory.stat().st_mode & 0o777 == 0o700
    assert lock.path.stat().st_mode & 0o777 == 0o600
    assert b"public part" not in lock.path.read_bytes()
    assert "public" not in lock.path.name
    lock.release()


def test_a_spoiled_file_is_begun_anew(tmp_path: Path) -> None:
    """The clock alone is above the floor, but for one that steps back."""
    lock = KeyLock("key", tmp_path)
    lock.next_nonce(NOW)
    lock.release()
    text = lock.path.read_bytes()
    lock.path.write_bytes(text.replace(b"nonce 0", b"nonce 9"))
    successor = KeyLock("key", tmp_path)

    assert successor.floor == 0
    assert successor.next_nonce(NOW) == NOW
    successor.release()


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    """It names the variable that moves it."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="set XDG_STATE_HOME"):
        KeyLock("key", tmp_path / "file" / "keys")


def test_the_state_directory_is_the_users_own() -> None:
    """$XDG_STATE_HOME, or where it would be."""
    assert keys_directory({"XDG_STATE_HOME": "/state"}) == Path("/state/kraken-engine/keys")
    assert keys_directory({}) == Path.home() / ".local/state/kraken-engine/keys"
    assert keys_directory({"XDG_STATE_HOME": "relative"}) == keys_directory({})


def test_no_call_goes_out_for_a_quarter_of_an_hour_after_a_lockout() -> None:
    """The sentence says how long it lasts."""
    lockout = Lockout()
    lockout.check(MonoNs(0))
    lockout.note(MonoNs(5))

    with pytest.raises(LockedOut, match="15 minutes"):
        lockout.check(MonoNs(6))
    with pytest.raises(LockedOut, match="in 1 minute,"):
        lockout.check(MonoNs(5 + LOCKOUT_NS - 1))
    lockout.check(MonoNs(5 + LOCKOUT_NS))


def test_a_lockout_outlives_the_process(tmp_path: Path) -> None:
    """A router that is started again does not prolong it, whatever has become of the wall clock meanwhile."""
    lock = KeyLock("key", tmp_path, boot="this")
    lock.note_lockout(ManualClock(5, NOW))
    close_as_a_death_would(tmp_path)
    successor = KeyLock("key", tmp_path, boot="this")

    for wall_ns in (NOW + NS_PER_S, NOW - 10 * LOCKOUT_NS, NOW + 10 * LOCKOUT_NS):
        assert successor.lockout_left_ns(ManualClock(5 + NS_PER_S, wall_ns)) == LOCKOUT_NS - NS_PER_S
        assert successor.lockout_left_ns(ManualClock(5 + LOCKOUT_NS, wall_ns)) == 0
    successor.release()


@pytest.mark.parametrize("boot", ["another", ""])
def test_after_a_boot_the_wall_clock_tells_of_a_lockout(tmp_path: Path, boot: str) -> None:
    """One that went back cannot make it last for ever."""
    lock = KeyLock("key", tmp_path, boot="this")
    lock.note_lockout(ManualClock(5, NOW))
    close_as_a_death_would(tmp_path)
    successor = KeyLock("key", tmp_path, boot=boot)

    assert successor.lockout_left_ns(ManualClock(0, NOW + NS_PER_S)) == LOCKOUT_NS - NS_PER_S
    assert successor.lockout_left_ns(ManualClock(0, NOW - 10 * LOCKOUT_NS)) == LOCKOUT_NS
    assert successor.lockout_left_ns(ManualClock(0, NOW + LOCKOUT_NS)) == 0
    successor.release()


def test_a_file_of_an_engine_that_noted_a_lockout_by_the_wall_clock_alone_is_read(tmp_path: Path) -> None:
    """An upgrade in the middle of a lockout asks Kraken nothing before its end."""
    lock = KeyLock("key", tmp_path, boot="this")
    last = lock.next_nonce(NOW)
    lock.note_lockout(ManualClock(5, NOW))
    lock.release()
    lines = lock.path.read_text().splitlines(keepends=True)
    body = "".join(line for line in lines if not line.startswith(("lockout ", "crc ")))
    lock.path.write_text(f"{body}crc {crc32(body.encode()):08x}\n")
    successor = KeyLock("key", tmp_path, boot="this")

    assert successor.floor == last
    assert successor.lockout_left_ns(ManualClock(5, WallNs(NOW + NS_PER_S))) == LOCKOUT_NS - NS_PER_S
    successor.release()


def test_a_floor_that_the_disk_did_not_take_is_written_once_it_does(tmp_path: Path) -> None:
    """Else the successor of a router that was killed would be below what Kraken has seen, where the clock was set back
    meanwhile.
    """
    lock = KeyLock("key", tmp_path)
    with unwritable(lock.path):
        used = lock.next_nonce(NOW)
        lock.catch_up()
    lock.catch_up()
    close_as_a_death_would(tmp_path)
    successor = KeyLock("key", tmp_path)

    assert successor.next_nonce(WallNs(NOW - 3600 * NS_PER_S)) > used
    successor.release()


@pytest.mark.parametrize("ahead_s", [0.5, 5, 60, 500, 4000])
def test_nonces_leap_to_what_kraken_has_seen(tmp_path: Path, ahead_s: float) -> None:
    """In five leaps at most, of which a successor knows; and the next time in small ones again."""
    lock, seen = KeyLock("key", tmp_path), NOW + int(ahead_s * NS_PER_S)
    leaps = 0
    while (nonce := lock.next_nonce(NOW)) <= seen:
        lock.leap()
        leaps += 1
    lock.note_accepted()
    lock.leap()
    next_one = lock.next_nonce(NOW)
    close_as_a_death_would(tmp_path)
    successor = KeyLock("key", tmp_path)

    assert leaps <= 5
    assert nonce - seen < max(8 * ahead_s, 1) * NS_PER_S
    assert next_one - nonce == NS_PER_S + 1
    assert successor.next_nonce(NOW) > next_one
    successor.release()


def test_nonces_do_not_leap_for_ever(tmp_path: Path) -> None:
    """Those of a key that was used with something other than the time would never get there."""
    lock = KeyLock("key", tmp_path)
    for _ in range(100):
        lock.leap()

    assert lock.next_nonce(NOW) < NOW + 4100 * NS_PER_S
    lock.release()
