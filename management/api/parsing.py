"""Requests into bodies and parameters, by the signatures that FastAPI documents.

One error reports all problems, field by field.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from fastapi import Path
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from management.errors import InvalidRequest, Problem, UnsupportedMediaType
from management.forms import fields
from management.forms.bodies import Body
from management.forms.validation import validated
from management.wording import messages
from management.wording.messages import Language, language_of
from web.json import work
from web.json.strict_json import InvalidJSON

Model = TypeVar("Model", bound=BaseModel)
AnyBody = TypeVar("AnyBody", bound=Body)
Dependency = TypeVar("Dependency", bound=Callable[..., Any])
PathModelId = Annotated[str, Path(pattern=fields.MODEL_ID)]
"""The path's model id. The pattern only documents it: another id is that of no model, which is another error."""


_DOCUMENTING: Final[set[Callable[..., Any]]] = set()


def only_documents(dependency: Dependency) -> Dependency:
    """Mark a dependency that FastAPI documents, and that no route calls."""
    _DOCUMENTING.add(dependency)
    return dependency


class StrictRoute(APIRoute):
    """A route whose handler's signature is read twice: FastAPI documents by it, and this module parses by it.

    FastAPI's own parsing takes the last of repeated query parameters, has no validation context, and validates large
    bodies on the event loop. Dependencies are not called: those that ``only_documents`` marks, and security schemes,
    document what other parts read of a request. Raises TypeError for any other, which would enforce nothing.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of a request: it parses the body first, then the query."""
        if self.dependant.header_params or self.dependant.cookie_params:
            raise TypeError(f"{self.name} declares a header or a cookie, which only a dependency may document")
        for dependency in self.dependant.dependencies:
            if not (isinstance(dependency.call, SecurityBase) or dependency.call in _DOCUMENTING):
                raise TypeError(f"{self.name} has a dependency that would not be called: {dependency.call}")
        request_name = self.dependant.request_param_name
        bodies: dict[str, Any] = {item.name: item.field_info.annotation for item in self.dependant.body_params}
        queries: dict[str, Any] = {item.name: item.field_info.annotation for item in self.dependant.query_params}
        for name, model in (bodies | queries).items():
            if not (isinstance(model, type) and issubclass(model, BaseModel)):
                raise TypeError(f"{self.name} declares {name}, which is not a model")

        async def handle(request: Request) -> Response:
            request.state.began = time.perf_counter()  # a processing time includes the body's arrival
            values: dict[str, Any] = dict(request.path_params)
            if request_name is not None:
                values[request_name] = request
            for name, model in bodies.items():
                values[name] = await body(request, model)
            for name, model in queries.items():
                values[name] = query(request, model)
            answer: Response = await self.endpoint(**values)
            return answer

        return handle


async def body(request: Request, model: type[AnyBody]) -> AnyBody:
    """Parse the JSON body. Raises UnsupportedMediaType, InvalidRequest for invalid JSON, and ``model.error``."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType
    data = await request.body()
    try:
        value = await work.loads(data, model.most)
    except InvalidJSON as wrong:
        raise InvalidRequest(Problem("", "json", {"expected": wrong.message})) from None
    context = {fields.ALLOWED: _of_application(request, "allowed_environment", ())}
    validate = partial(validated, value, model, model.error, context)
    return validate() if len(data) < work.LARGE_BYTES else await asyncio.to_thread(validate)


def query(request: Request, model: type[Model]) -> Model:
    """Parse the query parameters. Raises InvalidRequest."""
    given: dict[str, Any] = {}
    for key, value in request.query_params.multi_items():
        given[key] = (
            value if key not in given else [given[key], value]
        )  # no model accepts a list, so a repeated parameter is a problem
    return validated(given, model, InvalidRequest, {})


def language(request: Request) -> Language:
    """The language of the answer: the request's, or the application's default."""
    return language_of(request.headers.get("accept-language"), _of_application(request, "language", messages.DEFAULT))


def _of_application(request: Request, name: str, default: Any) -> Any:
    """A setting that the application's lifespan keeps in its state."""
    app = request.scope.get("app")
    return default if app is None else getattr(app.state, name, default)
