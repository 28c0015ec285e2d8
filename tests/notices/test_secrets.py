"""Where a target's secret is looked for, in which order, and what a mistake is called."""

from pathlib import Path

import pytest

from engine.config import NoticeTargetConfig
from engine.errors import ConfigError
from engine.processes.notice_secrets import (
    hand_over,
    load_secret,
    place_of_secret,
    take_over,
    take_variables,
    variable_of,
)

TARGET = NoticeTargetConfig(name="my-phone", kind="slack")
ADDRESS = "https://hooks.slack.com/services/T0/B0/xyz"


def private(path: Path, text: str = ADDRESS) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def with_file(path: Path) -> NoticeTargetConfig:
    return NoticeTargetConfig(name="my-phone", kind="slack", secret_file=str(path))


def test_the_environment_is_taken_and_wiped_and_handed_over() -> None:
    """By the variable that the target's name gives; others stay."""
    environment = {"KRAKEN_NOTICE_MY_PHONE": ADDRESS, "HOME": "/"}
    assert variable_of(TARGET) == "KRAKEN_NOTICE_MY_PHONE"
    assert place_of_secret(TARGET, environment) == "the environment"
    handed = take_over(hand_over(take_variables([TARGET], environment)))
    found = load_secret(TARGET, handed, environment)

    assert environment == {"HOME": "/"}
    assert found is not None
    assert found.reveal() == ADDRESS


def test_the_first_place_that_has_it_wins(tmp_path: Path) -> None:
    """systemd's directory, then the file, then the environment."""
    private(tmp_path / "notice_my-phone", "https://one.example")
    target = with_file(private(tmp_path / "file", "https://two.example\n"))
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    handed = {"my-phone": "https://three.example"}
    first, second, third = (
        load_secret(target, handed, environment), load_secret(target, handed, {}), load_secret(TARGET, handed, {}),
    )  # fmt: skip

    assert [each.reveal() for each in (first, second, third) if each is not None] == [
        "https://one.example", "https://two.example", "https://three.example",
    ]  # fmt: skip
    assert place_of_secret(target, environment) == "$CREDENTIALS_DIRECTORY"
    assert place_of_secret(target, {}) == str(tmp_path / "file")


def test_a_webhook_with_an_open_address_needs_none() -> None:
    """Then the secret would be its bearer token."""
    target = NoticeTargetConfig(name="w", kind="webhook", url="https://example.com/hook")

    assert place_of_secret(target, {}) is None
    assert load_secret(target, {}, {}) is None


@pytest.mark.parametrize(
    ("text", "mode", "part"),
    [
        (ADDRESS, 0o644, "can be read by other users (mode 0644); run: chmod 600"),
        ("", 0o600, "is empty; write the address or token into it"),
        ("https://a.example/ b", 0o600, "holds no address or token"),
        ("x" * 3000, 0o600, "holds no address or token"),
        ("x" * 20_000, 0o600, "is longer than 16,384 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, text: str, mode: int, part: str) -> None:
    """With its path and the mend, and without its text."""
    path = private(tmp_path / "file", text)
    path.chmod(mode)
    with pytest.raises(ConfigError) as raised:
        load_secret(with_file(path), {}, {})

    assert str(path) in str(raised.value)
    assert part in str(raised.value)
    assert ADDRESS not in str(raised.value)


def test_a_secret_that_is_nowhere_says_where_to_put_it() -> None:
    """By what the kind needs."""
    telegram = NoticeTargetConfig(name="t", kind="telegram", chat="1")
    for target, what in ((TARGET, "the address"), (telegram, "the bot's token")):
        for find in (
            lambda target=target: place_of_secret(target, {}),
            lambda target=target: load_secret(target, {}, {}),
        ):
            with pytest.raises(ConfigError, match=f"put {what} into a file of mode 0600 and name that in secret_file"):
                find()
