"""The models' own addresses as a section of a server's paths. It needs no framework: every path is a model's."""

from __future__ import annotations

from typing import Final, Protocol

from starlette.types import Receive, Scope, Send

from management.auth.access import Authenticator, FailedLoginLimiter, KeyCache, open_addresses, role_for_addresses
from management.errors import ManagementError, RouteNotFound
from management.gateway.gateway import Gateway
from management.metrics import Metrics
from management.proxy.addresses import PREFIX, address_of, base_by_host
from management.proxy.documentation import documentation
from management.proxy.exchange import BrokenAnswer, HttpExchange
from management.proxy.websocket import WebSocketExchange
from management.settings import AddressSettings, ApiSettings
from management.wording.errors import ERROR_HEADER, ApiErrorFormatter, of_error
from management.wording.messages import language_of
from web.edge import lifespan
from web.edge.sections import Limits, Section
from web.edge.websockets import deny
from web.error_shape import ErrorResponse, Headers
from web.json import strict_json

ROUTE: Final = f"{PREFIX}/{{model_id}}"
"""How all requests of the section are counted."""


class AddressParts(Protocol):
    """The parts of the management that the section uses."""

    @property
    def api_settings(self) -> ApiSettings:
        """The settings of the API."""

    @property
    def address_settings(self) -> AddressSettings:
        """The settings of models' own addresses."""

    @property
    def gateway(self) -> Gateway:
        """The gateway, which calls the models."""

    @property
    def metrics(self) -> Metrics:
        """The metrics for Prometheus."""

    @property
    def keyring(self) -> KeyCache:
        """The cache of the API keys."""

    @property
    def failures(self) -> FailedLoginLimiter:
        """The limiter of failed logins, by address."""


def section(parts: AddressParts) -> Section:
    """Return the section of the models' own addresses."""
    settings = parts.address_settings
    limits = Limits(settings.call_bytes, None, settings.stream_seconds, streams=True)

    def is_open(model_id: str) -> bool:  # not before it is asked: no part is made for its section alone
        return parts.gateway.is_open(model_id)

    def count(scope: Scope, status: int, seconds: float) -> None:
        parts.metrics.requests.count_as(ROUTE, scope["method"], status, seconds)

    return Section(
        PREFIX,
        ModelAddresses(parts),
        lambda _: limits,
        ApiErrorFormatter(lambda: parts.api_settings.language, marked=True),
        Authenticator(
            parts.keyring,
            parts.failures,
            role_for_addresses(PREFIX),
            browsers=True,
            is_open=open_addresses(PREFIX, is_open),
        ),
        count,
        websockets=True,
        base_of=base_by_host(parts.api_settings.public_url),
    )


class ModelAddresses:
    """ASGI application of every path below ``/models``."""

    def __init__(self, parts: AddressParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a websocket of a model."""
        if scope["type"] == "lifespan":
            await lifespan.acknowledge(receive, send)
            return
        try:
            await self._serve(scope, receive, send)
        except BrokenAnswer:
            return  # the outermost layer closes the connection of an answer that has no end
        except ManagementError as error:
            await self._refuse(error, scope, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = address_of(scope)
        if address is None:
            raise RouteNotFound
        if scope["type"] == "http":
            page = await documentation(self._parts.gateway, address, scope["method"])
            if page is not None:
                await page(scope, receive, send)
                return
        seconds = self._parts.address_settings.stream_seconds
        gateway = self._parts.gateway
        if scope["type"] == "websocket":
            await WebSocketExchange(gateway, seconds, self._parts.keyring).serve(address, scope, receive, send)
        else:
            await HttpExchange(gateway, seconds).serve(address, scope, receive, send)

    async def _refuse(self, error: ManagementError, scope: Scope, send: Send) -> None:
        """Answer an error in the API's shape, marked as one of this server."""
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-language"), None)
        status, content = of_error(error, language_of(accept, self._parts.api_settings.language))
        body = strict_json.dumps(content)
        headers: Headers = [(ERROR_HEADER, error.code.encode())]
        if error.retry_after is not None:
            headers.append((b"retry-after", str(error.retry_after).encode()))
        if scope["type"] == "websocket":
            await deny(scope, send, ErrorResponse(status, "", error.code), headers, body)
            return
        described = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *described]})
        await send({"type": "http.response.body", "body": body})
