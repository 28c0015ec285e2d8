"""Where the address or token of a target of notices is found, and how it reaches the
process that sends them, and no other.

    1  $CREDENTIALS_DIRECTORY/notice_NAME        systemd: LoadCredential=
    2  the desktop's keyring, when configured    service kraken-engine: notice_NAME
    3  a file of mode 0600, when configured      the text alone
    4  KRAKEN_NOTICE_NAME                        accepted with a warning, and wiped

As with the API key: the process that sends reads 1 to 3 itself, so the one that runs
strategies never has them; what the environment held is given to it in a sealed memfd.

    engine:  descriptor = hand_over(take_variables(targets))     before any strategy is loaded
    notices: load_secret(target, take_over(descriptor))
"""

import os
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from engine.config import NoticeTargetConfig
from engine.errors import ConfigError
from engine.secret import Secret
from engine.secret.private_text import (
    DIRECTORY_VARIABLE,
    ENVIRONMENT,
    GROUP_AND_OTHERS,
    KEYRING_NAME,
    OTHERS,
    check_private,
    hand_over_text,
    open_keyring,
    read_private,
    take_over_text,
    wipe_variable,
)

HOLDS: Final = "the address or token"
ENVIRONMENT_MEND: Final = (
    "other programs of this user can read it; put each into a file of mode 0600 and name that in its secret_file"
)
SECRET_CHARS_MAX: Final = 2048  # Slack's addresses have 80, Discord's 120, tokens of Telegram 46


def variable_of(target: NoticeTargetConfig) -> str:
    """The variable of the environment that may hold a target's secret."""
    return f"KRAKEN_NOTICE_{target.name.upper().replace('-', '_')}"


def entry_of(target: NoticeTargetConfig) -> str:
    """The name of a target's secret in the keyring and in the credentials' directory."""
    return f"notice_{target.name}"


def place_of_secret(target: NoticeTargetConfig, environment: Mapping[str, str] = os.environ) -> str | None:
    """Where a target's secret will be taken from, in words; None for a webhook that needs
    none. Its text is not looked at.

    Raises ConfigError when there is none, or for a file that cannot be read, or can be read
    by others.
    """
    if (path := _in_directory(target, environment)) is not None:
        check_private(path, forbidden=OTHERS, holds=HOLDS, any_owner=True)
        return f"${DIRECTORY_VARIABLE}"
    if target.keyring:
        open_keyring(f"keyring of notices.target {target.name}")
        return "the keyring"
    if target.secret_file is not None:
        check_private(Path(target.secret_file), forbidden=GROUP_AND_OTHERS, holds=HOLDS)
        return target.secret_file
    if environment.get(variable_of(target)):
        return ENVIRONMENT
    if needs_secret(target):
        raise ConfigError(_missing(target))
    return None


def needs_secret(target: NoticeTargetConfig) -> bool:
    """Whether nothing can be sent without one."""
    return target.kind != "webhook" or target.url is None


def _missing(target: NoticeTargetConfig) -> str:
    what = "the bot's token" if target.kind == "telegram" else "the address"
    return (
        f"notices.target {target.name} has no secret; put {what} into a file of mode 0600 and name that in "
        f"secret_file, or set {variable_of(target)}"
    )


def load_secret(
    target: NoticeTargetConfig, handed_over: Mapping[str, str], environment: Mapping[str, str] = os.environ
) -> Secret | None:
    """A target's secret, from the first place that has it; None for a webhook that has
    none.

    `handed_over` are those that the environment held, by target. Raises ConfigError.
    """
    if (path := _in_directory(target, environment)) is not None:
        return _checked(read_private(path, forbidden=OTHERS, holds=HOLDS, any_owner=True), str(path))
    if target.keyring and (found := _from_keyring(target)) is not None:
        return _checked(found, f"{entry_of(target)} of the keyring")
    if target.secret_file is not None:
        path = Path(target.secret_file)
        return _checked(read_private(path, forbidden=GROUP_AND_OTHERS, holds=HOLDS), str(path))
    if found := handed_over.get(target.name):
        return _checked(found, variable_of(target))
    if needs_secret(target):
        raise ConfigError(_missing(target))
    return None


def take_variables(
    targets: Sequence[NoticeTargetConfig], environment: MutableMapping[str, str] = os.environ
) -> dict[str, str]:
    """The secrets that the environment holds, by target; they are wiped there, for `ps` and
    for children. Call it before strategies are loaded.
    """
    taken = {}
    for target in targets:
        name = variable_of(target)
        if name in environment:
            taken[target.name] = environment[name]
            if environment is os.environ:
                wipe_variable(name)
            del environment[name]
    return taken


def hand_over(taken: Mapping[str, str]) -> int:
    """A descriptor for the process that sends notices: a sealed memfd with these secrets."""
    return hand_over_text(msgspec.json.encode(taken))


def take_over(fd: int) -> dict[str, str]:
    """The secrets in an inherited descriptor, which is closed."""
    return msgspec.json.decode(take_over_text(fd), type=dict[str, str])


def _in_directory(target: NoticeTargetConfig, environment: Mapping[str, str]) -> Path | None:
    directory = environment.get(DIRECTORY_VARIABLE)
    path = Path(directory) / entry_of(target) if directory else None
    return path if path is not None and path.exists() else None


def _from_keyring(target: NoticeTargetConfig) -> str | None:
    keyring = open_keyring(f"keyring of notices.target {target.name}")
    try:
        found: str | None = keyring.get_password(KEYRING_NAME, entry_of(target))
    except Exception as error:  # whatever the keyring's backend raises
        raise ConfigError(
            f"the keyring cannot be read ({type(error).__name__}); unlock it, or set keyring = false of "
            f"notices.target {target.name}"
        ) from None
    return found or None


def _checked(text: str, source: str) -> Secret:
    text = text.strip()
    if not text:
        raise ConfigError(f"{source} is empty; write {HOLDS} into it, and nothing else")
    if len(text) > SECRET_CHARS_MAX or not all("!" <= char <= "~" for char in text):
        raise ConfigError(
            f"{source} holds no address or token: it must be one line of at most {SECRET_CHARS_MAX:,} characters "
            "without spaces; copy it again"
        )
    return Secret(text)
