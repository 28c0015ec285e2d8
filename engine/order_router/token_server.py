"""Serves WebSocket tokens to the private feed, over a Unix socket of mode 0600: for this
user's processes only.
"""

import asyncio
from pathlib import Path

from engine.kraken_rest.tokens import NoToken
from engine.net.control_socket import Answer, Request, serve_control
from engine.order_router.router import OrderRouter
from engine.processes.token_socket import ASK_DEADLINE_S
from engine.secret import Secret


async def serve_tokens(path: Path, router: OrderRouter) -> asyncio.AbstractServer:
    """Serve each process that asks a fresh token, until the returned server is closed."""

    async def give(_: Request) -> Answer:
        given: asyncio.Future[Secret | NoToken] = asyncio.get_running_loop().create_future()

        def take(token: Secret | NoToken) -> None:
            if not given.done():
                given.set_result(token)

        router.look_at_clock()
        router.core.tokens.give(take)
        token = await given
        if isinstance(token, NoToken):
            raise token
        return {"token": token.reveal()}

    return await serve_control(path, {"token": give}, ASK_DEADLINE_S)
