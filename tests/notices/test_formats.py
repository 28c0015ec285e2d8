"""Each kind of target against the shape that its documentation asks for."""

import json
from typing import Any

import pytest

from engine.config import NoticeTargetConfig
from engine.errors import ConfigError
from engine.notices.digest import Digest
from engine.notices.formats import (
    DISCORD_CHARS_MAX,
    SLACK_CHARS_MAX,
    TELEGRAM_CHARS_MAX,
    WAIT_S_MAX,
    Sender,
    message_of,
    route_of,
    verdict,
)
from engine.notices.notice import notice
from engine.secret import Secret
from engine.telemetry.notice_events import NOTICE_EVENTS
from engine.units import NS_PER_S, WallNs

SENDER = Sender("my-bot", "wss://ws.kraken.com/v2", True)
AT = WallNs(1_764_424_800 * NS_PER_S)
TOKEN = "123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"


def target(kind: str, **more: Any) -> NoticeTargetConfig:
    return NoticeTargetConfig(name="phone", kind=kind, chat="-100123" if kind == "telegram" else None, **more)


def told(kind: str, *texts: str) -> dict[str, Any]:
    digest = Digest()
    for text in texts:
        digest.add(notice("halt", AT, text))
    body: dict[str, Any] = json.loads(message_of(target(kind), SENDER, digest).body)
    return body


def flood() -> Digest:
    """As much as there can be, of the letters that take the most room."""
    digest = Digest()
    for event in NOTICE_EVENTS:
        for _ in range(20):
            digest.add(notice(event, AT, "&*😀" * 200))
    return digest


def test_slack_is_sent_plain_text_without_its_control_characters() -> None:
    """https://docs.slack.dev/messaging/formatting-message-text: & < > are escaped, and nothing else."""
    body = told("slack", "<!channel> *a* & b")

    assert body["text"] == ("kraken-engine my-bot, 2025-11-29 UTC\n14:00:00Z halt: &lt;!channel&gt; *a* &amp; b")
    assert body["mrkdwn"] is False


def test_discord_is_sent_escaped_text_that_mentions_nobody() -> None:
    """https://discord.com/developers/docs/resources/message#allowed-mentions-object"""
    body = told("discord", "@everyone **a** <@123> `b` _c_")

    assert body["content"].endswith(r"halt: @everyone \*\*a\*\* \<@123> \`b\` \_c\_")
    assert body["allowed_mentions"] == {"parse": []}


def test_telegram_is_sent_plain_text_to_its_chat() -> None:
    """https://core.telegram.org/bots/api#sendmessage: without parse_mode nothing is markup."""
    body = told("telegram", "<b>a</b> _c_")

    assert body["chat_id"] == "-100123"
    assert body["text"].endswith("halt: <b>a</b> _c_")
    assert "parse_mode" not in body
    assert body["link_preview_options"] == {"is_disabled": True}


def test_a_webhook_is_sent_the_notices_one_by_one_and_as_text() -> None:
    """For programs and for people."""
    body = told("webhook", "trading is halted")

    assert body["engine"] == "my-bot"
    assert body["notices"] == [{"event": "halt", "at": "2025-11-29T14:00:00Z", "text": "trading is halted"}]
    assert body["more"] == {}
    assert body["text"].endswith("14:00:00Z halt: trading is halted")


@pytest.mark.parametrize(
    ("kind", "key", "size_max"),
    [
        ("slack", "text", SLACK_CHARS_MAX),
        ("discord", "content", DISCORD_CHARS_MAX),
        ("telegram", "text", TELEGRAM_CHARS_MAX),
    ],
)
def test_no_message_is_longer_than_its_target_takes(kind: str, key: str, size_max: int) -> None:
    """Escaped, and counted as UTF-16 as Telegram does; the halts are in it, and the rest as numbers."""
    digest = flood()
    message = message_of(target(kind), SENDER, digest)
    text = json.loads(message.body)[key]

    assert len(text.encode("utf-16-le")) // 2 <= size_max
    assert "halt: " in text
    assert "20 more fills" in text
    assert 0 < message.summed < digest.count


def test_play_money_is_called_so() -> None:
    """The venue is named where it is not Kraken's."""
    local = Sender("my-bot", "ws://127.0.0.1:8080/v2", False)

    assert local.title == "kraken-engine my-bot on ws://127.0.0.1:8080/v2"


def test_where_each_kind_is_sent_to() -> None:
    """The secret is in the path or in a header, as the service wants it."""
    slack = route_of(target("slack"), Secret("https://hooks.slack.com/services/T0/B0/xyz"))
    discord = route_of(target("discord"), Secret("https://discord.com/api/webhooks/1/abc"))
    telegram = route_of(target("telegram"), Secret(TOKEN))
    own = route_of(target("telegram", url="https://bots.example.com/api/"), Secret(TOKEN))
    known = route_of(target("webhook", url="https://example.com/hook?to=me"), Secret("bearerbearer"))
    hidden = route_of(target("webhook"), Secret("https://example.com/hook/secret"))

    assert slack[:2] == ("https://hooks.slack.com", "/services/T0/B0/xyz")
    assert discord[:2] == ("https://discord.com", "/api/webhooks/1/abc?wait=true")
    assert telegram[:2] == ("https://api.telegram.org", f"/bot{TOKEN}/sendMessage")
    assert own[:2] == ("https://bots.example.com", f"/api/bot{TOKEN}/sendMessage")
    assert known[:2] == ("https://example.com", "/hook?to=me")
    assert known.headers["Authorization"] == "Bearer bearerbearer"
    assert hidden[:2] == ("https://example.com", "/hook/secret")
    assert "Authorization" not in hidden.headers


@pytest.mark.parametrize(
    ("kind", "secret", "part"),
    [
        ("slack", "http://hooks.slack.com/services/T0/B0/xyz", "no address that may be used"),
        ("slack", "hooks.slack.com/services/T0/B0/xyz", "as slack shows it, with https://"),
        ("discord", "https://user:pass@discord.com/api", "no address that may be used"),
        ("telegram", "https://api.telegram.org/bot123", "copy it from @BotFather"),
    ],
)
def test_a_secret_that_cannot_be_one_is_one_sentence_that_does_not_quote_it(kind: str, secret: str, part: str) -> None:
    """The target is named, and the mend."""
    with pytest.raises(ConfigError) as raised:
        route_of(target(kind), Secret(secret))

    assert "notices.target phone" in str(raised.value)
    assert part in str(raised.value)
    assert secret not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "status", "body", "retry_after_s", "is_taken", "is_final", "wait_s", "part"),
    [
        ("slack", 200, b"ok", 0, True, False, 0, "slack answered 200"),
        ("webhook", 204, b"", 0, True, False, 0, "webhook answered 204"),
        ("slack", 429, b"rate_limited", 30, False, False, 30, "429 (rate_limited)"),
        ("slack", 404, b"no_service", 0, False, True, 0, "(no_service); its address and token must be made anew"),
        ("slack", 400, b"invalid_payload", 0, False, True, 0, "(invalid_payload)"),
        ("discord", 200, b'{"id":"1"}', 0, True, False, 0, "taken"),
        ("discord", 429, b'{"message":"You are being rate limited.","retry_after":0.5}', 0, False, False, 0.5, "being"),
        ("discord", 429, b'{"retry_after":' + b"9" * 400 + b"}", 0, False, False, 3600.0, "429"),
        ("discord", 404, b'{"message":"Unknown Webhook","code":10015}', 0, False, True, 0, "(Unknown Webhook)"),
        ("telegram", 200, b'{"ok":true}', 0, True, False, 0, "taken"),
        ("telegram", 200, b'{"ok":false}', 0, False, False, 0, "telegram answered 200"),
        (
            "telegram", 429, b'{"ok":false,"description":"Too Many Requests","parameters":{"retry_after":7}}', 5, False,
            False, 7, "(Too Many Requests)",
        ),
        ("telegram", 401, b'{"ok":false,"description":"Unauthorized"}', 0, False, True, 0, "the bot's token"),
        ("webhook", 500, b"\xff\x00 oops" * 100, 0, False, False, 0, "webhook answered 500"),
        ("webhook", 302, b"", 0, False, True, 0, "a redirection is not followed"),
        ("webhook", 503, b"", 999_999, False, False, WAIT_S_MAX, "503"),
    ],
)  # fmt: skip
def test_what_an_answer_means(
    kind: str, status: int, body: bytes, retry_after_s: float, is_taken: bool, is_final: bool, wait_s: float, part: str
) -> None:
    """Taken; to be sent again, and when; or never to be."""
    found = verdict(kind, status, body, retry_after_s)

    assert (found.is_taken, found.is_final, found.wait_s) == (is_taken, is_final, wait_s)
    assert part in found.text
    assert len(found.text) < 400
