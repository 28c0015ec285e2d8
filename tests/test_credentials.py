"""Keys come from places that only their owner can read, and reach one process."""

import fcntl
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.credentials import (
    ENVIRONMENT,
    KEY_VARIABLE,
    SECRET_VARIABLE,
    Credentials,
    checked,
    find_credentials,
    hand_over,
    has_keyring,
    load_credentials,
    remove_file,
    remove_from_keyring,
    store_in_file,
    store_in_keyring,
    take_environment,
    take_over,
)
from engine.errors import ConfigError

KEY = "bHVja3kga2V5IG9mIHRoZSB0ZXN0cywgbm90IG9uZSBvZiBLcmFrZW4ncy4="
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def toml(tmp_path: Path, mode: int = 0o600) -> Path:
    return write(tmp_path / "kraken.toml", f'api_key = "{KEY}"\napi_secret = "{SECRET}"\n', mode)


def sentence(place, **options) -> str:
    """The sentence that the user gets; it must never contain the secret."""
    with pytest.raises(ConfigError) as refused:
        place(**options)
    text = str(refused.value)
    assert SECRET not in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    "text",
    [
        f'api_key = "{KEY}"\napi_secret = "{SECRET}"\n',
        f"{KEY}\n{SECRET}\n",
        f"# my key\n\n  {KEY}  \n{SECRET}",
        f"\ufeff{KEY}\r\n{SECRET}\r\n",
    ],
    ids=["toml", "two lines", "comments and blanks", "from Windows"],
)
def test_a_file_of_either_form_gives_the_key(tmp_path, text) -> None:
    """A file is TOML, or the key and the secret on a line each."""
    found = load_credentials(file=write(tmp_path / "key", text), environment={})

    assert (found.api_key, found.secret.reveal()) == (KEY, SECRET)
    assert found.warning is None
    assert SECRET not in repr(found)
    assert KEY not in repr(found)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode) -> None:
    """The sentence has the very command that corrects the permissions."""
    path = toml(tmp_path, mode)

    assert sentence(load_credentials, file=path).endswith(f"(mode {mode:04o}); run: chmod 600 {path}")


def test_a_link_a_folder_and_a_pipe_are_refused(tmp_path) -> None:
    """Neither is read: a link may lead to another file a moment later, and a pipe would
    wait for ever.
    """
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(toml(tmp_path))
    os.mkfifo(pipe, 0o600)

    assert "is a symbolic link" in sentence(load_credentials, file=link)
    assert "is not a file" in sentence(load_credentials, file=tmp_path)
    assert "is not a file" in sentence(load_credentials, file=pipe)
    assert "no such file or directory; name a file that holds api_key and api_secret" in sentence(
        load_credentials, file=tmp_path / "nothing"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_a_file_of_another_user_is_refused(tmp_path) -> None:
    """A file of another user is refused: its owner could change the key, and read ours."""
    path = toml(tmp_path)
    os.chown(path, 12345, -1)

    assert "belongs to another user" in sentence(load_credentials, file=path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'api_key = "{KEY}"\n', "has no api_secret"),
        (f'api_secret = "{SECRET}"\napi_key = 7\n', "has no api_key"),
        (f"{KEY}\n{SECRET[:-1]}!\n", "is not base64"),
        (f"{KEY}\nnot base64 at all\n", "is not base64"),
        (f"{KEY} {KEY}\n{SECRET}\n", "is not one of Kraken's"),
        (f'api_key = "{KEY}\napi_secret = "{SECRET}"', "neither TOML nor two lines"),
        ("", "has no api_key"),
        ("x" * 20_000, "is longer than"),
    ],
)
def test_a_file_that_holds_no_key_says_what_is_wrong(tmp_path, text, said) -> None:
    """An unusable file gets one sentence, without a word of its contents."""
    assert said in sentence(load_credentials, file=write(tmp_path / "key", text), environment={})


def test_exchanged_texts_are_noticed() -> None:
    """Exchanging key and secret is the commonest mistake, which Kraken answers with
    `Invalid key`.
    """
    key, secret = "A" * 56, "B" * 86 + "=="

    assert "exchanged" in sentence(lambda: checked(secret, key, "the file"))
    assert checked(key, secret, "the file").api_key == key


def test_the_places_are_asked_in_their_order(tmp_path, monkeypatch) -> None:
    """The order is systemd, keyring, file, then what was handed over, then the environment."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    write(folder / "kraken_api_key", "systemd\n", 0o440)
    write(folder / "kraken_api_secret", f"{SECRET}\n", 0o440)
    kept = {"api_key": "keyring", "api_secret": SECRET}
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=lambda _, name: kept[name]))
    environment = {"CREDENTIALS_DIRECTORY": str(folder), KEY_VARIABLE: "environment", SECRET_VARIABLE: SECRET}
    file = toml(tmp_path)
    given = checked("handed", SECRET, "another process")

    def found(**options) -> str:
        return load_credentials(environment=dict(environment), **options).api_key

    assert found(file=file, keyring=True, handed_over=given) == "systemd"
    del environment["CREDENTIALS_DIRECTORY"]
    assert found(file=file, keyring=True, handed_over=given) == "keyring"
    assert found(file=file, handed_over=given) == KEY
    assert found(handed_over=given) == "handed"
    assert found() == "environment"
    environment.clear()
    assert "there is no API key" in sentence(load_credentials, environment=environment)
    assert find_credentials(environment=environment) is None


def test_a_missing_or_locked_keyring_is_one_sentence(monkeypatch) -> None:
    """Any exception of the keyring's backend becomes one sentence."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "install kraken-engine[keyring]" in sentence(find_credentials, keyring=True, environment={})

    def locked(_: str, __: str) -> str:
        raise RuntimeError(f"backend says {SECRET}")

    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=locked))
    assert "cannot be read (RuntimeError)" in sentence(find_credentials, keyring=True, environment={})


def test_half_a_key_in_the_environment_is_a_mistake() -> None:
    """One of the two variables alone is refused, and removed from the environment all the same."""
    environment = {SECRET_VARIABLE: SECRET}

    assert f"{KEY_VARIABLE} is not set" in sentence(take_environment, environment=environment)
    assert environment == {}


WIPING = f"""
import os, sys
from pathlib import Path
from engine.credentials import take_environment
found = take_environment()
assert found is not None and found.secret.reveal() == os.read(0, 200).decode()
assert found.warning and "environment" in found.warning
left = Path("/proc/self/environ").read_bytes()
assert b"{KEY_VARIABLE}=" in left or b"x" * 40 in left
print(found.secret.reveal().encode() in left, "{SECRET_VARIABLE}" in os.environ)
"""


def test_a_key_of_the_environment_is_wiped_where_ps_reads_it() -> None:
    """Deleting a variable leaves its text in the process's memory and in /proc; wiping does
    not.
    """
    done = subprocess.run(
        [sys.executable, "-c", WIPING],
        env={**os.environ, KEY_VARIABLE: KEY, SECRET_VARIABLE: SECRET},
        input=SECRET,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout.split(), done.stderr) == (["False", "False"], "")


def test_a_key_is_handed_over_as_often_as_the_router_starts() -> None:
    """The key travels in a sealed memfd: it cannot be changed, and is gone with its
    descriptors.
    """
    given = checked(KEY, SECRET, ENVIRONMENT)
    fd = hand_over(given)
    try:
        for _ in range(2):
            taken = take_over(os.dup(fd))
            assert taken is not None
            assert (taken.api_key, taken.secret, taken.source) == (KEY, given.secret, ENVIRONMENT)
        assert not os.get_inheritable(fd)
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
        with pytest.raises(OSError):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)


def test_an_empty_hand_gives_nothing() -> None:
    """A router that finds its key itself gets an empty descriptor."""
    assert take_over(hand_over(None)) is None


def test_credentials_cannot_be_encoded() -> None:
    """Credentials contain a Secret, which JSON and MessagePack refuse."""
    import msgspec

    with pytest.raises(TypeError):
        msgspec.json.encode(checked(KEY, SECRET, "a file"))
    with pytest.raises(TypeError):
        hash(Credentials(KEY, checked(KEY, SECRET, "a file").secret, "a file"))


NOT_DUMPED = """
import ctypes, resource, sys
from engine.credentials import no_core_dumps
no_core_dumps(allow=sys.argv[1] == "allow")
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@pytest.mark.parametrize("switch", ["forbid", "allow"])
def test_a_process_with_a_key_cannot_be_dumped(switch) -> None:
    """Core dumps are off unless the user switches them on for debugging."""
    done = subprocess.run([sys.executable, "-c", NOT_DUMPED, switch], capture_output=True, text=True, check=True)
    limit, dumpable = map(int, done.stdout.split())

    if switch == "forbid":
        assert (limit, dumpable) == (0, 0)
    else:
        assert (limit, dumpable) == (resource.getrlimit(resource.RLIMIT_CORE)[0], 1)


# --- stored, and removed again


def keyring_of(kept: dict[str, str], priority: int = 5) -> SimpleNamespace:
    """A keyring that keeps what it is given, as the optional package offers it."""
    return SimpleNamespace(
        get_keyring=lambda: SimpleNamespace(priority=priority),
        get_password=lambda _, name: kept.get(name),
        set_password=lambda _, name, value: kept.__setitem__(name, value),
        delete_password=lambda _, name: kept.pop(name),
    )


def test_a_stored_key_is_found_again_and_only_its_owner_can_read_it(tmp_path) -> None:
    """In a new file of a new folder; what was there is never written over."""
    path = tmp_path / "new" / "key.toml"
    store_in_file(checked(KEY, SECRET, "here"), path)

    assert find_credentials(file=path, environment={}).secret.reveal() == SECRET
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "is there already" in sentence(store_in_file, credentials=checked(KEY, "YQ==", "here"), path=path)
    assert find_credentials(file=path, environment={}).secret.reveal() == SECRET


def test_a_key_with_quotes_is_stored_as_it_is(tmp_path) -> None:
    """Whatever Kraken may put into one."""
    path = tmp_path / "key.toml"
    store_in_file(checked('a"b\\c', SECRET, "here"), path)

    assert find_credentials(file=path, environment={}).api_key == 'a"b\\c'


def test_only_a_file_that_holds_a_key_is_removed(tmp_path) -> None:
    """A mistyped name costs nothing."""
    other = write(tmp_path / "diary.txt", "dear diary")
    path = toml(tmp_path)

    assert "neither TOML nor two lines" in sentence(remove_file, path=other)
    assert other.exists()
    assert remove_file(path).api_key == KEY
    assert not path.exists()


def test_a_keyring_keeps_the_key_until_it_is_removed(monkeypatch) -> None:
    """And says when it has none."""
    kept: dict[str, str] = {}
    monkeypatch.setitem(sys.modules, "keyring", keyring_of(kept))

    assert has_keyring()
    store_in_keyring(checked(KEY, SECRET, "here"))
    assert find_credentials(keyring=True, environment={}).secret.reveal() == SECRET
    assert remove_from_keyring().api_key == KEY
    assert kept == {}
    assert "nothing to remove" in sentence(remove_from_keyring)


def test_a_keyring_that_keeps_nothing_is_none(monkeypatch) -> None:
    """A server without a desktop has such a one, or not even the package."""
    monkeypatch.setitem(sys.modules, "keyring", keyring_of({}, priority=0))
    assert not has_keyring()
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert not has_keyring()


def test_a_full_disk_leaves_no_part_of_a_key(tmp_path):
    """It would be in the way of the next attempt."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            store_in_file(checked("the-public-part", "c2VjcmV0", "a test"), tmp_path / "key.toml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert list(tmp_path.iterdir()) == []
