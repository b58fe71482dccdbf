"""Text in, text out: the service of BentoML's quickstart."""

from __future__ import annotations

import bentoml


@bentoml.service
class Hello:
    """Greets by name."""

    @bentoml.api
    def greet(self, name: str) -> str:
        """Return a greeting."""
        return f"Hello, {name}!"
