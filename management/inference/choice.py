"""Which of a Bento's APIs a request calls."""

from __future__ import annotations

from management.domain.bento import CONTRACT_ROUTE, Bento, BentoApi
from management.errors import InvalidRequest, Problem

FIELD = "api"
"""Field of a request that names the API."""


def chosen(bento: Bento | None, default: str, requested: str | None) -> BentoApi | None:
    """Return the API; None for that of the model contract. A Bento whose files are not known follows the contract.

    ``requested`` comes before ``default``, the deployment's; without either, the only API is called.
    Raises InvalidRequest, which lists the APIs.
    """
    name = requested or default
    names_contract = name in ("", CONTRACT_ROUTE, CONTRACT_ROUTE.removeprefix("/"))
    if bento is None:
        if requested and not names_contract:
            raise InvalidRequest(Problem(FIELD, "api_unknown", {"expected": "infer(requests)"}))
        return None
    if names_contract and bento.follows_contract:
        return None
    api = bento.api(name) if name else bento.apis[0] if len(bento.apis) == 1 else None
    if api is None:
        raise refusal(bento, FIELD, "api_unknown" if name else "api_missing" if bento.apis else "api_none")
    return None if api.follows_contract else api


def refusal(bento: Bento, field: str, kind: str) -> InvalidRequest:
    """Return the error for a choice that names none of the Bento's APIs; its details list them."""
    error = InvalidRequest(Problem(field, kind, {} if kind == "api_none" else {"expected": bento.signatures}))
    error.details["apis"] = [
        {"name": api.name, "arguments": list(api.inputs), "required": sorted(api.required_inputs)} for api in bento.apis
    ]
    return error
