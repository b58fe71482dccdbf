"""The login of the command line by a browser: ``bentoml cloud login`` shows a page, and waits for a token."""

from __future__ import annotations

import asyncio
import html
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from management.auth.access import FailedLoginLimiter, KeyCache
from management.auth.browser_login import BrowserLogin
from management.bentoml_api.recognition import CODE, PAGE, TOKEN
from management.control.api_keys import ApiKeys
from management.errors import InvalidRequest, KeyNotFound, Problem, TooManyRequests
from web import addresses
from web.answers import JSONAnswer

LONGEST_FORM: Final = 16 * 1024
"""Bytes of the longest form."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
}
FORM: Final = """<p>A command line, <code>bentoml cloud login</code>, asks for a token of this server. Go on only if you
have just started it yourself: it will be able to do all that your key allows.</p>
<form method="post"><label>API key <input type="password" name="key" autofocus required autocomplete="current-password">
</label> <button>Log in</button></form>"""
EXPIRED: Final = "<p>This login has expired. Start <code>bentoml cloud login</code> again.</p>"
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Log in to Atelier</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}
input{{font:inherit;width:100%;padding:.4rem;box-sizing:border-box}}
button{{font:inherit;margin-top:1rem;padding:.4rem 1rem}}
.wrong{{color:#b00020}}</style><h1>Log in to Atelier</h1>{content}</html>"""


class LoginRoutes:
    """No request needs a key: the page asks for it."""

    def __init__(self, login: BrowserLogin, keyring: KeyCache, keys_: ApiKeys, failures: FailedLoginLimiter) -> None:
        self._login, self._keyring, self._keys, self._failures = login, keyring, keys_, failures

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(CODE, self.code),
            Route(TOKEN, self.token),
            Route(PAGE, self.page, methods=["GET"]),
            Route(PAGE, self.submit, methods=["POST"]),
        ]

    async def code(self, _: Request) -> Response:
        """A code, which stands for one login."""
        return JSONAnswer({"code": await asyncio.to_thread(self._login.new_code)})

    async def token(self, request: Request) -> Response:
        """The token of a login that a person has allowed, once; 404 before and after."""
        code = request.query_params.get("code", "")
        if not await asyncio.to_thread(self._login.is_valid, code):
            raise KeyNotFound
        text = await asyncio.to_thread(self._login.key_text, code)
        if not await self._keys.hand_out(text):
            raise KeyNotFound
        return JSONAnswer({"token": text})

    async def page(self, request: Request) -> Response:
        """The page that asks for a key."""
        if not await asyncio.to_thread(self._login.is_valid, request.query_params.get("code", "")):
            return _shown(EXPIRED, 404)
        return _shown(FORM)

    async def submit(self, request: Request) -> Response:
        """Make a token with the role of the key that the form has."""
        code = request.query_params.get("code", "")
        if not await asyncio.to_thread(self._login.is_valid, code):
            return await self.page(request)
        key = self._keyring.find(await _key_in_form(request))
        if key is None:
            if (seconds := self._failures.note(addresses.block(request.scope.get("client")))) is not None:
                raise TooManyRequests(retry_after=seconds)
            return _shown(f'<p class="wrong">This key is not known, or has expired.</p>{FORM}', 401)
        if not await self._keys.log_in(await asyncio.to_thread(self._login.key_text, code), key):
            return _shown(EXPIRED, 404)
        return _shown(f"<p>The command line is logged in as {html.escape(key.name)}. You can close this page.</p>")


async def _key_in_form(request: Request) -> str:
    """The key that the form has. Raises InvalidRequest."""
    data = await request.body()
    try:
        values = parse_qs(data[: LONGEST_FORM + 1].decode("ascii"), max_num_fields=8).get("key", [])
    except ValueError:
        values = []
    if len(data) > LONGEST_FORM or len(values) != 1:
        raise InvalidRequest(Problem("key", "missing"))
    return values[0].strip()


def _shown(content: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(content=content), status_code=status, headers=HEADERS)
