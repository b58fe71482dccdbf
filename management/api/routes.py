"""The documented routes: parse, make one call, answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response

from management.api import examples, openapi, schemas, views
from management.api import responses as answers
from management.api.idempotency import Change
from management.api.messages import problem
from management.api.parsing import body, language, query
from management.backends.base import ImageRefusedError
from management.control.commands import Caller
from management.domain.records import Deployment, Replica
from management.errors import InvalidModelConfig, ItemRefused, ModelNotFound
from management.gateway.balancing import Priority
from management.gateway.gateway import Terms
from management.gateway.replica_client import MOST_ELEMENTS, Result, code_of, message_of
from management.metrics import CONTENT_TYPE
from management.store import Session
from web.answers import JSONAnswer, large_answer, timestamp
from web.edge.disconnect import while_awaited

if TYPE_CHECKING:
    from management.platform import Platform

PREFIX: Final = "/api/v1"
PRIORITIES: Final = {"high": Priority.HIGH, "normal": Priority.NORMAL, "low": Priority.LOW}


def router(platform: Platform) -> APIRouter:
    """Every route below ``PREFIX``."""
    api = APIRouter(prefix=PREFIX)
    _add_deploying(api, platform)
    _add_scaling(api, platform)
    _add_deleting(api, platform)
    _add_listing(api, platform)
    _add_history(api, platform)
    _add_inference(api, platform)
    _add_metrics(api, platform)
    return api


def _add_deploying(api: APIRouter, platform: Platform) -> None:
    @api.post(
        "/models/deploy",
        **openapi.change("deploy_model", "Deploy a model", schemas.DeployBody, answers.DeploymentAnswer),
    )
    async def deploy(request: Request) -> JSONAnswer:
        asked = await body(request, schemas.DeployBody, InvalidModelConfig, _context(platform))
        await _check_image(request, platform, asked.config.docker_image)
        change = Change(
            lambda session, caller: platform.wishes.deploy(session, asked.config, caller),
            "deploying",
            "deployed",
            _deployment,
        )
        return await platform.changes.make(request, change, query(request, schemas.WaitQuery).wait)

    @api.put(
        "/models/{model_id}",
        **openapi.change("update_model", "Update a model", schemas.UpdateBody, answers.DeploymentAnswer),
    )
    async def update(request: Request) -> JSONAnswer:
        model_id = _model_id(request)
        asked = await body(request, schemas.UpdateBody, InvalidModelConfig, _context(platform))
        if asked.config.docker_image is not None:
            await _check_image(request, platform, asked.config.docker_image)
            await _check_model_type(request, platform, model_id, asked.config.docker_image)
        change = Change(
            lambda session, caller: platform.wishes.update(session, model_id, asked.config, caller),
            "updating",
            "updated",
            _deployment,
        )
        return await platform.changes.make(request, change, query(request, schemas.WaitQuery).wait)


def _add_scaling(api: APIRouter, platform: Platform) -> None:
    @api.post(
        "/models/{model_id}/scale",
        **openapi.change("scale_model", "Scale a model", schemas.ScaleBody, answers.ScaleAnswer),
    )
    async def scale(request: Request) -> JSONAnswer:
        model_id = _model_id(request)
        asked = await body(request, schemas.ScaleBody, InvalidModelConfig)

        def tell(deployment: Deployment, alive: int, message: str) -> dict[str, Any]:
            return {"message": message, "current_replicas": alive, "target_replicas": deployment.replicas}

        def work(session: Session, caller: Caller) -> Deployment:
            return platform.wishes.scale(session, model_id, asked.replicas, caller)

        change = Change(work, "scaling", "scaled", tell)
        return await platform.changes.make(request, change, query(request, schemas.WaitQuery).wait)


def _add_deleting(api: APIRouter, platform: Platform) -> None:
    @api.delete("/models/{model_id}", **openapi.change("delete_model", "Delete a model", None, answers.DeleteAnswer))
    async def delete(request: Request) -> JSONAnswer:
        model_id = _model_id(request)
        asked = query(request, schemas.DeleteQuery)
        change = Change(
            lambda session, caller: platform.wishes.delete(session, model_id, force=asked.force, caller=caller),
            "deleting",
            "deleted",
            lambda _, __, message: {"message": message},
            ends=True,
            makes_room=model_id,
            lasting=False,
        )
        return await platform.changes.make(request, change, asked.wait)


def _add_listing(api: APIRouter, platform: Platform) -> None:
    @api.get(
        "/models",
        **openapi.view("list_models", "List models", list[answers.ListedModel], examples.LISTED, schemas.ListQuery),
    )
    async def models(request: Request) -> JSONAnswer:
        asked = query(request, schemas.ListQuery)

        def work(session: Session) -> tuple[list[dict[str, Any]], int]:
            page = session.deployments.page(**asked.model_dump())
            replicas = _by_deployment(session.replicas.of(one.id for one in page.items))
            return [views.listed(one, replicas.get(one.id, [])) for one in page.items], page.total

        listed, total = await platform.store.read(work)
        headers = {"X-Total-Count": str(total), **_links(request, asked, total)}
        return JSONAnswer(listed, headers=headers)

    @api.get(
        "/models/{model_id}/status",
        **openapi.view("model_status", "A model's status", answers.StatusAnswer, examples.STATUS),
    )
    async def status(request: Request) -> JSONAnswer:
        model_id = _model_id(request)
        deployment, replicas = await platform.store.read(lambda session: _found(session, model_id))
        url = platform.settings.public_url.rstrip("/") + PREFIX
        return JSONAnswer(views.status(deployment, replicas, url, language(request)))

    @api.get("/health", **openapi.health("health"))
    async def health() -> JSONAnswer:
        said = await platform.health()
        return JSONAnswer(said, status_code=503 if said["status"] == "unhealthy" else 200)


def _add_history(api: APIRouter, platform: Platform) -> None:
    @api.get(
        "/models/{model_id}/logs",
        **openapi.view(
            "model_logs", "The last lines of a model's logs", answers.LogsAnswer, examples.LOGS, schemas.LogsQuery
        ),
    )
    async def logs(request: Request) -> JSONAnswer:
        model_id = _model_id(request)
        tail = query(request, schemas.LogsQuery).tail
        deployment, replicas = await platform.store.read(lambda session: _found(session, model_id))
        lines = await platform.supervisor.log(deployment, replicas, tail)
        parts = [{"replica_id": one.id, "state": one.state.value, "lines": lines.get(one.id, [])} for one in replicas]
        return JSONAnswer({"model_id": model_id, "replicas": parts})

    @api.get(
        "/models/{model_id}/events",
        **openapi.view(
            "model_events", "Who changed what", list[answers.ShownEvent], examples.EVENTS, schemas.EventsQuery
        ),
    )
    async def events(request: Request) -> JSONAnswer:
        model_id = _model_id(request)
        limit = query(request, schemas.EventsQuery).limit
        found = await platform.store.read(lambda session: session.events.of(model_id, limit))
        if not found:
            raise ModelNotFound({"model_id": model_id})
        return JSONAnswer([views.event(one) for one in found])


def _add_inference(api: APIRouter, platform: Platform) -> None:
    # Who leaves frees the place: the work is given up with its caller.
    @api.post(
        "/models/{model_id}/inference",
        **openapi.inference("infer", "One inference", schemas.InferenceBody, batch=False),
    )
    async def inference(request: Request) -> Response:
        model_id = _model_id(request)
        started = time.perf_counter()
        asked = await body(request, schemas.InferenceBody, most=MOST_ELEMENTS)
        item = {"input_data": asked.input_data, "parameters": asked.parameters}
        (result,) = await while_awaited(platform.gateway.infer(model_id, [item], await _terms(request, asked)))
        if (error := result.get("error")) is not None:
            raise ItemRefused(code_of(error.get("code")), message_of(error.get("message")))
        return await large_answer(_answer(_request_id(request), model_id, result, started))

    @api.post(
        "/models/{model_id}/batch_inference",
        **openapi.inference("infer_batch", "A batch", schemas.BatchBody, batch=True),
    )
    async def batch_inference(request: Request) -> Response:
        model_id = _model_id(request)
        started = time.perf_counter()
        asked = await body(request, schemas.BatchBody, most=MOST_ELEMENTS)
        items = [{"input_data": one.input_data, "parameters": one.parameters} for one in asked.requests]
        results = await while_awaited(platform.gateway.infer(model_id, items, await _terms(request, asked)))
        own_id = _request_id(request)
        return await large_answer(
            [_batch_answer(f"{own_id}.{number}", model_id, one, started) for number, one in enumerate(results)]
        )


def _context(platform: Platform) -> dict[str, Any]:
    return {schemas.ALLOWED: platform.settings.allowed_environment}


async def _check_image(request: Request, platform: Platform, image: str) -> None:
    try:
        await platform.backend.images.check(image)
    except ImageRefusedError as refused:
        told = problem("config.docker_image", refused.kind, language(request), **refused.values)
        raise InvalidModelConfig({"problems": [told]}) from None


async def _check_model_type(request: Request, platform: Platform, model_id: str, image: str) -> None:
    """Refuses a Bento whose type is another than that of the Bento which the model runs, where both are known."""
    deployment = await platform.store.read(lambda session: session.deployments.get(model_id))
    if deployment is None or deployment.wanted.config.docker_image == image:
        return
    images = platform.backend.images
    found = await images.model_type(image)
    wanted = await images.model_type(deployment.wanted.config.docker_image) if found else None
    if wanted and found != wanted:
        told = problem("config.docker_image", "bento_kind", language(request), found=found, wanted=wanted)
        raise InvalidModelConfig({"problems": [told]})


def _add_metrics(api: APIRouter, platform: Platform) -> None:
    @api.get("/metrics", **openapi.metrics("metrics"))
    async def metrics() -> Response:
        return Response(await platform.metrics.text(), media_type=CONTENT_TYPE)


async def _terms(request: Request, asked: schemas.InferenceBody | schemas.BatchBody) -> Terms:
    size = len(await request.body())  # what came, whatever its headers said
    return Terms(PRIORITIES[asked.priority], asked.timeout, _request_id(request), size)


def _answer(request_id: str, model_id: str, result: Result, started: float) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "model_id": model_id,
        "output_data": result.get("output_data"),
        "confidence": result.get("confidence"),
        "processing_time": round(time.perf_counter() - started, 6),
        "timestamp": timestamp(),
    }


def _batch_answer(request_id: str, model_id: str, result: Result, started: float) -> dict[str, Any]:
    error = result.get("error")
    told = {} if error is None else {"code": code_of(error.get("code")), "message": message_of(error.get("message"))}
    return {**_answer(request_id, model_id, result, started), **({"error": told} if told else {})}


def _deployment(deployment: Deployment, _: int, message: str) -> dict[str, Any]:
    return {"deployment_id": deployment.id, "message": message}


def _model_id(request: Request) -> str:
    """Of the path; a parameter of the route would make FastAPI describe a 422 that never occurs."""
    found: str = request.path_params["model_id"]
    return found


def _request_id(request: Request) -> str:
    found: str = request.scope["state"]["request_id"]
    return found


def _found(session: Session, model_id: str) -> tuple[Deployment, list[Replica]]:
    deployment = session.deployments.get(model_id)
    if deployment is None:
        raise ModelNotFound({"model_id": model_id})
    return deployment, session.replicas.of([deployment.id])


def _by_deployment(replicas: Sequence[Replica]) -> dict[str, list[Replica]]:
    found: dict[str, list[Replica]] = {}
    for one in replicas:
        found.setdefault(one.deployment_id, []).append(one)
    return found


def _links(request: Request, asked: schemas.ListQuery, total: int) -> dict[str, str]:
    """RFC 8288, relative to this server: nothing is made of the Host header."""
    filters = "".join(
        f"&{name}={value}" for name in ("status", "model_type") if (value := request.query_params.get(name)) is not None
    )
    steps = {
        "next": asked.offset + asked.limit if asked.offset + asked.limit < total else None,
        "prev": max(0, asked.offset - asked.limit) if asked.offset > 0 else None,
    }
    links = [
        f'<{PREFIX}/models?limit={asked.limit}&offset={offset}{filters}>; rel="{name}"'
        for name, offset in steps.items()
        if offset is not None
    ]
    return {"Link": ", ".join(links)} if links else {}
