"""What each kind of target wants to be sent, and what its answer means. Pure.

    webhook    POST url                  {"engine":…,"notices":[…],"more":{…},"text":…}
    slack      POST url                  {"text":…,"mrkdwn":false}
               https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
    discord    POST url?wait=true        {"content":…,"allowed_mentions":{"parse":[]}}
               https://discord.com/developers/docs/resources/webhook#execute-webhook
    telegram   POST /botTOKEN/sendMessage    {"chat_id":…,"text":…}, without parse_mode: plain text
               https://core.telegram.org/bots/api#sendmessage

Texts come from logs and exchanges, so what would be markup or a mention is escaped, or the
text is sent as plain text.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from engine.config import NoticeTargetConfig
from engine.endpoints import check_web_url
from engine.errors import ConfigError
from engine.notices.digest import Composed, Digest
from engine.notices.notice import utc_text
from engine.secret import Secret, redact

SLACK_CHARS_MAX: Final = 4000  # Slack cuts at 40,000, and asks for 4,000 at most
DISCORD_CHARS_MAX: Final = 2000
TELEGRAM_CHARS_MAX: Final = 4096
WEBHOOK_CHARS_MAX: Final = 32_000  # ours to choose
TELEGRAM_URL: Final = "https://api.telegram.org"
WAIT_S_MAX: Final = 3600.0  # for which a target may ask
ANSWER_CHARS_MAX: Final = 200  # of its text, in a sentence
NO_EMBEDS: Final = 1 << 2  # Discord's flag SUPPRESS_EMBEDS

_encode = msgspec.json.Encoder().encode
# What is markup anywhere in a line; no line begins with a notice's own text.
_MARKDOWN: Final = re.compile(r"([\\*_~`|<\[\]])")


class Sender(Struct, frozen=True):
    """The engine and the venue that a message is about; its head."""

    engine: str
    """Its name."""
    venue: str
    """The URL of its public WebSocket."""
    is_kraken: bool
    """Whether that is Kraken's own."""

    @property
    def title(self) -> str:
        """`kraken-engine my-bot`, and where it is not Kraken's money, so."""
        return f"kraken-engine {self.engine}" + ("" if self.is_kraken else f" on {self.venue}")


class Route(NamedTuple):
    """Where a target is."""

    origin: str
    """https://hooks.slack.com"""
    path: str
    """What follows it; for most targets a secret."""
    headers: dict[str, str]


class Message(NamedTuple):
    """One message, as its target wants it."""

    body: bytes
    summed: int
    """How many of its notices are told in a number only."""


class Verdict(NamedTuple):
    """What an answer means."""

    is_taken: bool
    is_final: bool
    """Sending the same again cannot succeed."""
    wait_s: float
    """For how long the target asks to be left alone."""
    text: str
    """What it answered, for people."""


class _Format(NamedTuple):
    size_max: int
    size_of: Callable[[str], int]
    body: Callable[[NoticeTargetConfig, Sender, Composed, str], dict[str, Any]]


def route_of(target: NoticeTargetConfig, secret: Secret | None) -> Route:
    """Where to send to; raises ConfigError, which quotes no secret, when something is
    missing or is no address.
    """
    place = f"notices.target {target.name}"
    headers = {"Content-Type": "application/json"}
    if target.kind == "telegram":
        if secret is None or not re.fullmatch(r"\d+:[\w-]{8,}", secret.reveal()):
            raise ConfigError(f"{place}: its secret is no token of a bot; copy it from @BotFather, as 123456:ABC…")
        origin, path = _parted(target.url or TELEGRAM_URL)
        return Route(origin, f"{path.rstrip('/')}/bot{secret.reveal()}/sendMessage", headers)
    if target.url is not None:
        if secret is not None:
            headers["Authorization"] = f"Bearer {secret.reveal()}"
        return Route(*_parted(target.url), headers)
    if secret is None:
        raise ConfigError(f"{place} has no address; set url, or put it where secret_file says")
    try:
        check_web_url(secret.reveal())
    except ConfigError:
        raise ConfigError(
            f"{place}: its secret is no address that may be used; copy it again, as {target.kind} shows it, with "
            "https:// at its beginning"
        ) from None
    origin, path = _parted(secret.reveal())
    if target.kind == "discord":
        # Without it Discord does not say whether it has taken the message.
        path += f"{'&' if '?' in path else '?'}wait=true"
    return Route(origin, path, headers)


def message_of(target: NoticeTargetConfig, sender: Sender, digest: Digest) -> Message:
    """The message about these notices."""
    form = _FORMATS[target.kind]
    title = f"{sender.title}, {utc_text(digest.until).partition('T')[0]} UTC"
    composed = digest.compose(form.size_max - form.size_of(title) - 1, form.size_of)
    body = form.body(target, sender, composed, f"{title}\n{composed.text}")
    return Message(_encode(body), sum(composed.more.values()))


def verdict(kind: str, status: int, body: bytes, retry_after_s: float) -> Verdict:
    """What an answer with this status, body and Retry-After means."""
    told = _object(body)
    if 200 <= status < 300 and (kind != "telegram" or told.get("ok", True)):
        return Verdict(True, False, 0.0, f"{kind} answered {status}: taken")
    wait_s = min(max(retry_after_s, _wait_s(told)), WAIT_S_MAX)
    is_final = 300 <= status < 500 and status not in (408, 425, 429)
    return Verdict(False, is_final, wait_s, f"{kind} answered {status}{_words(told, body)}{_mend(kind, status)}")


def _parted(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _webhook_body(_: NoticeTargetConfig, sender: Sender, composed: Composed, text: str) -> dict[str, Any]:
    return {
        "engine": sender.engine,
        "venue": sender.venue,
        "notices": [{"event": each.event, "at": utc_text(each.at), "text": each.text} for each in composed.lines],
        "more": composed.more,
        "since": utc_text(composed.since),
        "until": utc_text(composed.until),
        "text": text,
    }


def _slack_body(_: NoticeTargetConfig, __: Sender, ___: Composed, text: str) -> dict[str, Any]:
    return {"text": _slack_escaped(text), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


def _discord_body(_: NoticeTargetConfig, __: Sender, ___: Composed, text: str) -> dict[str, Any]:
    return {"content": _discord_escaped(text), "allowed_mentions": {"parse": []}, "flags": NO_EMBEDS}


def _telegram_body(target: NoticeTargetConfig, _: Sender, __: Composed, text: str) -> dict[str, Any]:
    return {"chat_id": target.chat, "text": text, "link_preview_options": {"is_disabled": True}}


def _slack_escaped(text: str) -> str:
    """Slack: "replace the three characters & < >"; mentions and links need < to be one."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _discord_escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def _utf16_units(text: str) -> int:
    """Telegram counts as UTF-16 does."""
    return len(text.encode("utf-16-le")) // 2


_FORMATS: Final = {
    "webhook": _Format(WEBHOOK_CHARS_MAX, len, _webhook_body),
    "slack": _Format(SLACK_CHARS_MAX, lambda text: len(_slack_escaped(text)), _slack_body),
    "discord": _Format(DISCORD_CHARS_MAX, lambda text: len(_discord_escaped(text)), _discord_body),
    "telegram": _Format(TELEGRAM_CHARS_MAX, _utf16_units, _telegram_body),
}


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _wait_s(told: dict[str, Any]) -> float:
    """Discord says {"retry_after":0.5}, Telegram {"parameters":{"retry_after":5}}."""
    parameters = told.get("parameters")
    wishes = (told.get("retry_after"), parameters.get("retry_after") if isinstance(parameters, dict) else None)
    return max(
        # A whole number may be too large for a float.
        (float(min(wish, WAIT_S_MAX)) for wish in wishes if isinstance(wish, int | float) and wish > 0),
        default=0.0,
    )


def _words(told: dict[str, Any], body: bytes) -> str:
    """Its own text: Telegram's description, Discord's message, Slack's word."""
    text = next((told[key] for key in ("description", "message", "error") if isinstance(told.get(key), str)), "")
    text = redact(" ".join((text or body.decode(errors="replace")).split()))
    text = "".join(char for char in text if char.isprintable())[:ANSWER_CHARS_MAX]
    return f" ({text})" if text else ""


def _mend(kind: str, status: int) -> str:
    if status in (401, 403, 404, 410):
        what = "the bot's token and the chat" if kind == "telegram" else "its address and token"
        return f"; {what} must be made anew or put right"
    if 300 <= status < 400:
        return "; a redirection is not followed, give the address that it leads to"
    return ""
