"""A model that misbehaves in the one way that the environment variable ROGUE names, and answers well without it.

    crash           it raises at its start
    dies            it becomes ready, and its process ends half a second later
    never-ready     it serves, and says that it is not ready
    garbage         200, with a body that is not JSON
    short           200, with one result fewer than there were requests
    nan             200, with a number that JSON has not
    closes          200, half of the body that its length promises, and the connection is closed
    hang            no answer, ever
    500             an error of its own

It imports nothing of the project, as a Bento of somebody else's would not. It is an ASGI application and no
``bentoml.api``, because BentoML would let few of these out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from typing import Any

import bentoml

KIND = os.environ.get("ROGUE", "")
DIES_AFTER = 0.5
DIED = 7
RESULT = {"output_data": {"well": True}, "error": None, "confidence": 1.0}


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """``POST /infer`` as the model contract has it, or as KIND says."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    results = [RESULT for _ in json.loads(body)["requests"]]
    if KIND == "hang":
        await asyncio.Event().wait()
    status, told = {
        "garbage": (200, b"<html>what?</html>"),
        "short": (200, json.dumps(results[1:]).encode()),
        "nan": (200, json.dumps([{"output_data": {"n": float("nan")}}] * len(results)).encode()),
        "500": (500, b"Traceback: no answer today"),
    }.get(KIND, (200, json.dumps(results).encode()))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if KIND == "closes":
        told = told[: len(told) // 2]  # the server closes where the length is not kept
    await send({"type": "http.response.body", "body": told})


@bentoml.service(name="Rogue", workers=1)
@bentoml.asgi_app(answer)
class Rogue:
    """Becomes ready, or not, as KIND says."""

    def __init__(self) -> None:
        self._dying = False
        if KIND == "crash":
            raise RuntimeError("ROGUE says that this start fails")

    def __is_ready__(self) -> bool:
        if KIND == "dies" and not self._dying:
            self._dying = True
            threading.Timer(DIES_AFTER, self._die).start()
        return KIND != "never-ready"

    def _die(self) -> None:
        sys.stderr.write("ROGUE says that it dies\n")
        sys.stderr.flush()
        os._exit(DIED)
