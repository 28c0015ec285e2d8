"""What `engine check` and `engine doctor` say of the targets of notices: one sentence each, and nothing is sent."""

from pathlib import Path

import pytest

from engine.config import Config, NoticesConfig, NoticeTargetConfig
from engine.doctor.notices import notice_findings
from engine.kraken_rest.preflight import Level

ADDRESS = "https://hooks.slack.com/services/T0/B0/canarycanary"


@pytest.fixture(autouse=True)
def _dumpable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process goes on being debugged, and has no variables of the user's."""
    monkeypatch.setattr("engine.doctor.notices.no_core_dumps", lambda: None)
    for name in ("CREDENTIALS_DIRECTORY", "KRAKEN_NOTICE_PHONE"):
        monkeypatch.delenv(name, raising=False)


def said_of(**fields: object) -> tuple[Level, str]:
    target = NoticeTargetConfig(name="phone", **({"kind": "slack"} | fields))  # type: ignore[arg-type]
    (finding,) = notice_findings(Config(notices=NoticesConfig(targets=(target,))))
    assert "canary" not in finding.text
    return finding.level, finding.text


def test_a_target_that_can_be_sent_to_is_named_with_its_host_and_place(tmp_path: Path) -> None:
    """Not with its address, which is a secret."""
    path = tmp_path / "address"
    path.write_text(ADDRESS)
    path.chmod(0o600)

    assert said_of(secret_file=str(path)) == (
        Level.OK,
        f"phone: slack at https://hooks.slack.com, its secret from {path}; `engine notices test` sends to it",
    )
    assert said_of(kind="webhook", url="https://example.com/hook") == (
        Level.OK, "phone: webhook at https://example.com; `engine notices test` sends to it",
    )  # fmt: skip


def test_a_secret_of_the_environment_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mend."""
    monkeypatch.setenv("KRAKEN_NOTICE_PHONE", ADDRESS)
    level, text = said_of()

    assert level is Level.WARNING
    assert text.startswith("the secret of phone comes from the environment; other programs of this user can read it")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("http://hooks.slack.com/services/T0/B0/canarycanary", "its secret is no address that may be used"),
        ("canary canary", "holds no address or token"),
        ("", "is empty; write the address or token into it"),
    ],
)
def test_an_address_that_cannot_be_one_is_a_failure(tmp_path: Path, text: str, part: str) -> None:
    """Plain HTTP to another host, for one; the text is not quoted."""
    path = tmp_path / "address"
    path.write_text(text)
    path.chmod(0o600)
    level, said = said_of(secret_file=str(path))

    assert level is Level.FAILURE
    assert part in said


def test_a_secret_that_is_nowhere_is_a_failure_with_its_mend() -> None:
    """By the variable that would hold it."""
    level, text = said_of(kind="telegram", chat="1")

    assert level is Level.FAILURE
    assert text == (
        "notices.target phone has no secret; put the bot's token into a file of mode 0600 and name that in "
        "secret_file, or set KRAKEN_NOTICE_PHONE"
    )
