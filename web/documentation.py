"""A Swagger UI page for an OpenAPI document; the browser loads files from this server only."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Final

from starlette.responses import HTMLResponse

KEY_SCHEME: Final = "key"
"""Name of the OpenAPI security scheme that the page's key field fills in."""

STATIC_FILES: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-light-32x32.png")
"""The files of Swagger UI that the page loads."""

_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'sha256-{hash}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page. Swagger UI sets style attributes, and draws its icons as data URLs."""

_HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Further headers of the page: it sends no referrer and cannot be framed by another page."""

_PAGE: Final = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<title>$title</title>
<link rel="stylesheet" href="$static/swagger-ui.css">
<link rel="icon" href="$static/favicon-light-32x32.png">
<style>
body { margin: 0; font-family: sans-serif; }
.servers, .servers-title, .operation-servers { display: none; }
nav, #deployed { max-width: 1460px; margin: 0 auto; padding: 12px 20px 0; font-size: 14px; color: #3b4151; }
nav a { margin-right: 16px; }
#deployed table { border-collapse: collapse; margin-top: 8px; }
#deployed td, #deployed th { text-align: left; padding: 2px 16px 2px 0; }
</style>
</head>
<body>
<nav>$links</nav>
$deployed
<div id="swagger-ui"></div>
<script src="$static/swagger-ui-bundle.js"></script>
<script>$script</script>
</body>
</html>
""")

_DEPLOYED: Final = """<section id="deployed">
<form><label>Deployed models: <input type="password" name="key" placeholder="API key" autocomplete="off"></label>
<button>Show</button> <output></output></form>
<table hidden><thead><tr><th>Model</th><th>Version</th><th>Status</th><th>Ready replicas</th></tr></thead>
<tbody></tbody></table>
</section>"""

_START: Final = """
const ui = SwaggerUIBundle({url: $openapi, dom_id: "#swagger-ui", deepLinking: true, defaultModelsExpandDepth: 0,
  tryItOutEnabled: false, presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout"});
"""

_SHOW: Final = """
const section = document.getElementById("deployed");
section.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = section.querySelector("input").value, output = section.querySelector("output");
  const table = section.querySelector("table"), rows = section.querySelector("tbody");
  rows.replaceChildren();
  table.hidden = true;
  try { ui.preauthorizeApiKey($scheme, key); } catch (error) { }
  try {
    const answer = await fetch($models, {headers: {"X-API-Key": key, "Accept-Language": "en"}});
    const body = await answer.json();
    if (!answer.ok) { output.textContent = body.error.message || body.error; return; }
    output.textContent = body.length ? "" : "none yet";
    for (const model of body) {
      const row = rows.insertRow();
      for (const text of [model.model_id, model.version, model.status,
          model.replicas.ready + " of " + model.replicas.desired]) { row.insertCell().textContent = text; }
    }
    table.hidden = !body.length;
  } catch (error) { output.textContent = "the server does not answer"; }
});
"""


def static_folder() -> Path | None:
    """Return the folder of Swagger UI's files, which BentoML brings along; None without it."""
    spec = find_spec("bentoml")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "_internal" / "server" / "static_content"


def documentation_page(
    title: str, openapi_url: str, static: str, *, links: Mapping[str, str] | None = None, models_url: str | None = None
) -> HTMLResponse:
    """Return the page. ``static`` is the path under which Swagger UI's files are served.

    ``links`` maps the text of a link to its URL. With ``models_url``, the page lists the deployed models once the
    reader has typed a key; the key stays in the page.
    """
    script = _START.replace("$openapi", _literal(openapi_url))
    if models_url is not None:
        script += _SHOW.replace("$models", _literal(models_url)).replace("$scheme", _literal(KEY_SCHEME))
    anchors = "".join(f'<a href="{escape(url)}">{escape(text)}</a>' for text, url in (links or {}).items())
    page = _PAGE.substitute(
        title=escape(title),
        static=escape(static),
        links=anchors,
        deployed=_DEPLOYED if models_url is not None else "",
        script=script,
    )
    return HTMLResponse(page, headers={**_HEADERS, "Content-Security-Policy": policy(script)})


def policy(script: str) -> str:
    """Return the Content-Security-Policy that allows this inline script, and no other."""
    return _POLICY.format(hash=b64encode(sha256(script.encode()).digest()).decode())


def _literal(text: str) -> str:
    """Return a JavaScript string literal that cannot close the script element."""
    return json.dumps(text).replace("<", "\\u003c")
