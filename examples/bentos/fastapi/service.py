"""A FastAPI application beside a service's own APIs, on the same port."""

from __future__ import annotations

from typing import Annotated

import bentoml
from fastapi import Cookie, FastAPI, Form, HTTPException, Response
from fastapi.responses import RedirectResponse

app = FastAPI(title="Notes")


@bentoml.service
@bentoml.asgi_app(app, path="/notes")
class Notes:
    """Keeps notes in memory."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @bentoml.api
    def count(self) -> int:
        """Return how many notes there are."""
        return len(self.notes)

    @app.post("/", status_code=201)
    def add(self, text: Annotated[str, Form(max_length=1000)], response: Response) -> dict[str, int]:
        """Keep a note."""
        self.notes.append(text)
        response.set_cookie("newest", str(len(self.notes) - 1))
        return {"id": len(self.notes) - 1}

    @app.get("/newest")
    def newest(self, newest: Annotated[int, Cookie()] = 0) -> RedirectResponse:
        """Lead to the note that this caller added last."""
        return RedirectResponse(str(newest), 307)

    @app.get("/{number}")
    def note(self, number: int) -> dict[str, str]:
        """Return a note."""
        if not 0 <= number < len(self.notes):
            raise HTTPException(404, "there is no such note")
        return {"text": self.notes[number]}
