"""A REST client that knows nothing of the venue's code: it signs as Kraken's page says and reads what comes."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp

from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings


def api_sign(secret: str, path: str, nonce: str, body: bytes) -> str:
    digest = hashlib.sha256(nonce.encode() + body).digest()
    return base64.b64encode(
        hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512).digest()
    ).decode()


class RestClient:
    """Signed calls with one key, whose nonce counts upward from 1."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, secret: str) -> None:
        self.session = session
        self.url = url
        self.key = key
        self.secret = secret
        self.nonce = 0

    async def public(self, name: str, **params: Any) -> Any:
        """The whole reply."""
        async with self.session.get(f"{self.url}/0/public/{name}", params=params) as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            return await response.json()

    async def post(self, name: str, body: bytes, content_type: str, **headers: str) -> Any:
        """A private call with a body and headers as they are."""
        sent = {"API-Key": self.key, "Content-Type": content_type, **headers}
        async with self.session.post(f"{self.url}/0/private/{name}", data=body, headers=sent) as response:
            assert response.status == 200
            return await response.json()

    async def form(self, name: str, nonce: str | None = None, **params: Any) -> Any:
        """A signed call with a form."""
        self.nonce += 1
        chosen = str(self.nonce) if nonce is None else nonce
        body = urlencode({"nonce": chosen, **params}).encode()
        sign = api_sign(self.secret, f"/0/private/{name}", chosen, body)
        return await self.post(name, body, "application/x-www-form-urlencoded", **{"API-Sign": sign})

    async def json(self, name: str, **params: Any) -> Any:
        """A signed call with a JSON object, whose nonce is a number."""
        self.nonce += 1
        body = json.dumps({"nonce": self.nonce, **params}).encode()
        sign = api_sign(self.secret, f"/0/private/{name}", str(self.nonce), body)
        return await self.post(name, body, "application/json", **{"API-Sign": sign})

    async def result(self, name: str, **params: Any) -> Any:
        """What a call that must succeed came to."""
        reply = await self.form(name, **params)
        assert reply["error"] == [], reply
        return reply["result"]

    async def error(self, name: str, **params: Any) -> str:
        """The words of a call that must fail."""
        reply = await self.form(name, **params)
        assert list(reply) == ["error"], reply
        assert len(reply["error"]) == 1
        return str(reply["error"][0])

    async def own(self, method: str, path: str, body: Any = None) -> Any:
        """One of the venue's own paths."""
        async with self.session.request(method, f"{self.url}/venue/{path}", json=body) as response:
            return await response.json()

    async def with_key(self, **spec: Any) -> "RestClient":
        """The same with another key, made for the occasion."""
        made = await self.own("POST", "keys", spec)
        return RestClient(self.session, self.url, made["api_key"], made["api_secret"])


@asynccontextmanager
async def trading_at(venue: Venue) -> AsyncIterator[RestClient]:
    """A client with the key of the funded account."""
    assert venue.rest is not None
    key = venue.keys.default
    async with aiohttp.ClientSession() as session:
        yield RestClient(session, venue.rest.url, key.key, key.secret)


THREE_PAIRS = ("BTC/USD", "ETH/USD", "DOGE/USD")


@asynccontextmanager
async def standing_venue(**settings: Any) -> AsyncIterator[tuple[Venue, RestClient]]:
    """A venue whose books stand still, without latency, and a client of it; of one pair,
    for each takes 20 ms.
    """
    chosen = {"port": 0, "rate": 0.0, "symbols": ("BTC/USD",), "engine_latency_ms": (0.0, 0.0)}
    async with Venue(VenueSettings(**(chosen | settings))) as venue, trading_at(venue) as client:
        yield venue, client


def limit_buy(**more: Any) -> dict[str, Any]:
    """A buy order far below the market: it rests."""
    return {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "50000.0", "volume": "0.01", **more}
