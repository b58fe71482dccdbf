"""A Gradio page over a service's API."""

from __future__ import annotations

import bentoml
import gradio


def _count(text: str) -> str:
    """Call the API of the service that shows this page."""
    counts: dict[str, int] = bentoml.get_current_service().count(text)
    return ", ".join(f"{number} {unit}" for unit, number in counts.items())


page = gradio.Interface(
    _count,
    gradio.Textbox(label="Text"),
    gradio.Textbox(label="Length"),
    title="How long is it?",
    analytics_enabled=False,
)


@bentoml.service
@bentoml.gradio.mount_gradio_app(page, path="/ui")
class Counter:
    """Counts what a text is made of."""

    @bentoml.api
    def count(self, text: str) -> dict[str, int]:
        """Return how many characters, words and lines there are."""
        return {"characters": len(text), "words": len(text.split()), "lines": len(text.splitlines())}
