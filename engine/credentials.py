"""Where an API key is found, and how it reaches the order router and no other process.

    1  $CREDENTIALS_DIRECTORY/kraken_api_key, …/kraken_api_secret      systemd: LoadCredential=
    2  the desktop's keyring, when configured                          service kraken-engine: api_key, api_secret
    3  a file of mode 0600, when configured                            TOML, or two lines: key, secret
    4  KRAKEN_API_KEY and KRAKEN_API_SECRET                            accepted with a warning, and wiped

Never a command-line option: every user of the machine can read those.

The router reads 1 to 3 itself, so the process that runs strategies never has the secret. A
key that only the engine process can know (from its environment, or of the local venue) is
given to the router in a sealed memfd, which has no name and is gone with its last
descriptor:

    engine: descriptor = hand_over(take_environment())     before any strategy is loaded
    router: load_credentials(…, handed_over=take_over(descriptor))
"""

import base64
import binascii
import os
import resource
import tomllib
from collections.abc import MutableMapping
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.errors import ConfigError
from engine.prctl import forbid_dumps
from engine.secret import Secret, fingerprint
from engine.secret.private_text import (
    DIRECTORY_VARIABLE,
    ENVIRONMENT,
    GROUP_AND_OTHERS,
    KEYRING_NAME,
    OTHERS,
    hand_over_text,
    open_keyring,
    read_private,
    take_over_text,
    wipe_variable,
)

KEY_VARIABLE = "KRAKEN_API_KEY"
SECRET_VARIABLE = "KRAKEN_API_SECRET"
DIRECTORY_KEY = "kraken_api_key"
DIRECTORY_SECRET = "kraken_api_secret"
HOLDS = "api_key and api_secret"
SETTING = "trading.keyring"

NO_KEY = (
    "there is no API key; put api_key and api_secret into a file of mode 0600 and name that in "
    "trading.credentials_file, or run `engine keys add`"
)

KEY_CHARS_MAX = 256  # Kraken's have 56
KRAKEN_KEY_CHARS, KRAKEN_SECRET_CHARS = 56, 88


class Credentials(Struct, frozen=True):
    """One API key and where it was found."""

    api_key: str
    """The public part."""
    secret: Secret
    source: str
    """Where it was found, for people."""

    @property
    def fingerprint(self) -> str:
        """A short name of the key, for logs and file names."""
        return fingerprint(self.api_key)

    @property
    def warning(self) -> str | None:
        """What is wrong with the place; None when nothing is."""
        if self.source != ENVIRONMENT:
            return None
        return (
            f"the API key comes from the environment, which other programs of this user can read; "
            f"put it into a file of mode 0600 and name that in trading.credentials_file, and unset {SECRET_VARIABLE}"
        )

    def __repr__(self) -> str:
        return f"Credentials({self.fingerprint}, from {self.source})"


def load_credentials(
    *,
    file: Path | None = None,
    keyring: bool = False,
    handed_over: Credentials | None = None,
    environment: MutableMapping[str, str] = os.environ,
) -> Credentials:
    """The first key in the order above; raises ConfigError when there is none, or it is
    unusable.
    """
    found = find_credentials(file=file, keyring=keyring, environment=environment)
    found = found or handed_over or take_environment(environment)
    if found is None:
        raise ConfigError(NO_KEY)
    return found


def find_credentials(
    *, file: Path | None = None, keyring: bool = False, environment: MutableMapping[str, str] = os.environ
) -> Credentials | None:
    """The first key of the places that any process of this user can read (1 to 3), or None."""
    directory = environment.get(DIRECTORY_VARIABLE)
    if directory and (found := _from_directory(Path(directory))) is not None:
        return found
    if keyring and (found := _from_keyring()) is not None:
        return found
    return _from_file(file) if file is not None else None


def take_environment(environment: MutableMapping[str, str] = os.environ) -> Credentials | None:
    """The key in this process's environment, or None; it is wiped there, for `ps` and for
    children.

    Call it early: before another library has copied the environment, and before strategies
    are loaded.
    """
    api_key, secret = environment.get(KEY_VARIABLE), environment.get(SECRET_VARIABLE)
    for name in (KEY_VARIABLE, SECRET_VARIABLE):
        if name in environment:
            if environment is os.environ:
                wipe_variable(name)
            del environment[name]
    if not api_key and not secret:
        return None
    if not api_key or not secret:
        missing = SECRET_VARIABLE if api_key else KEY_VARIABLE
        raise ConfigError(f"{missing} is not set; a key has two parts, {KEY_VARIABLE} and {SECRET_VARIABLE}")
    return checked(api_key, secret, ENVIRONMENT)


def checked(api_key: str, secret: str, source: str) -> Credentials:
    """Both texts as Credentials; raises ConfigError when they cannot be a key."""
    api_key, secret = api_key.strip(), secret.strip()
    if len(api_key) == KRAKEN_SECRET_CHARS and len(secret) == KRAKEN_KEY_CHARS:
        raise ConfigError(f"{source}: api_key and api_secret are exchanged; the secret is the longer one")
    if not api_key or len(api_key) > KEY_CHARS_MAX or not all("!" <= char <= "~" for char in api_key):
        raise ConfigError(f"{source}: the API key is not one of Kraken's; copy it again, as Kraken shows it")
    try:
        is_secret = bool(base64.b64decode(secret, validate=True))
    except (binascii.Error, ValueError):
        is_secret = False
    if not is_secret:
        raise ConfigError(f"{source}: the API secret is not base64; copy the private key again, as Kraken shows it")
    return Credentials(api_key, Secret(secret), source)


# --- from process to process


def hand_over(credentials: Credentials | None) -> int:
    """A descriptor for the router to inherit: a sealed memfd with the key, or an empty one
    for None.

    Give it to each router process that is started, and to no other. It is closed by exec
    unless it is passed on.
    """
    if credentials is None:
        return hand_over_text(b"")
    return hand_over_text(msgspec.json.encode((credentials.api_key, credentials.secret.reveal(), credentials.source)))


def take_over(fd: int) -> Credentials | None:
    """The key in an inherited descriptor, which is closed; None when it is empty."""
    text = take_over_text(fd)
    if not text:
        return None
    api_key, secret, source = msgspec.json.decode(text, type=tuple[str, str, str])
    return Credentials(api_key, Secret(secret), source)


def no_core_dumps(*, allow: bool = False) -> None:
    """Keep this process's memory out of core files and from debuggers, unless `allow` is
    set.

    A process that cannot be dumped cannot be traced either, by py-spy for example.
    """
    if allow:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    forbid_dumps()


# --- stored, and removed again


def has_keyring() -> bool:
    """Whether the package keyring is installed, and there is a keyring that keeps what it
    is given.
    """
    try:
        return bool(open_keyring(SETTING).get_keyring().priority > 0)
    except Exception:  # not installed, or whatever its backends raise
        return False


def store_in_file(credentials: Credentials, path: Path) -> None:
    """Write a key into a new file of mode 0600; raises ConfigError when there is one, and
    OSError, which leaves none.
    """
    text = "".join(
        f"{name} = {msgspec.json.encode(value).decode()}\n"
        for name, value in (("api_key", credentials.api_key), ("api_secret", credentials.secret.reveal()))
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; remove it with `engine keys remove`, or name another") from None
    try:
        with open(fd, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)  # a part of a key, which would be in the way of the next attempt
        raise


def store_in_keyring(credentials: Credentials) -> None:
    """Put a key into the desktop's keyring, in place of another one."""
    keyring = open_keyring(SETTING)
    try:
        keyring.set_password(KEYRING_NAME, "api_key", credentials.api_key)
        keyring.set_password(KEYRING_NAME, "api_secret", credentials.secret.reveal())
    except Exception as error:
        raise ConfigError(f"the keyring cannot be written ({type(error).__name__}); unlock it, or use --file") from None


def remove_file(path: Path) -> Credentials:
    """Remove a file that holds a key and nothing else; the key that it held. Raises
    ConfigError for any other file, which stays.
    """
    credentials = _from_file(path)
    path.unlink()
    return credentials


def remove_from_keyring() -> Credentials:
    """Take the key out of the desktop's keyring; raises ConfigError when it has none."""
    credentials = _from_keyring()
    if credentials is None:
        raise ConfigError("the keyring has no API key of the engine's; there is nothing to remove")
    keyring = open_keyring(SETTING)
    try:
        for name in ("api_key", "api_secret"):
            keyring.delete_password(KEYRING_NAME, name)
    except Exception as error:
        raise ConfigError(f"the keyring cannot be written ({type(error).__name__}); unlock it") from None
    return credentials


# --- the places


def _from_directory(directory: Path) -> Credentials | None:
    # systemd owns these files and opens them to this user by an ACL, which shows as group
    # bits.
    key_path, secret_path = directory / DIRECTORY_KEY, directory / DIRECTORY_SECRET
    if not key_path.exists() and not secret_path.exists():
        return None  # the service has other credentials
    source = f"${DIRECTORY_VARIABLE}"
    texts = [read_private(path, forbidden=OTHERS, holds=HOLDS, any_owner=True) for path in (key_path, secret_path)]
    return checked(texts[0], texts[1], source)


def _from_keyring() -> Credentials | None:
    keyring = open_keyring(SETTING)
    try:
        api_key = keyring.get_password(KEYRING_NAME, "api_key")
        secret = keyring.get_password(KEYRING_NAME, "api_secret")
    except Exception as error:  # whatever the keyring's backend raises
        raise ConfigError(
            f"the keyring cannot be read ({type(error).__name__}); unlock it, or set trading.keyring = false"
        ) from None
    if not api_key or not secret:
        return None
    return checked(api_key, secret, "the keyring")


def _from_file(path: Path) -> Credentials:
    text = read_private(path, forbidden=GROUP_AND_OTHERS, holds=HOLDS)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) == 2 and not any(line.startswith(("api_key", "api_secret")) for line in lines):
        return checked(lines[0], lines[1], str(path))
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        # Not the parser's own message: it may quote the text.
        raise ConfigError(f'{path} is neither TOML nor two lines; write api_key = "…" and api_secret = "…"') from None
    for name in ("api_key", "api_secret"):
        if not isinstance(table.get(name), str):
            raise ConfigError(f'{path} has no {name}; write {name} = "…", as Kraken shows it')
    return checked(table["api_key"], table["api_secret"], str(path))
