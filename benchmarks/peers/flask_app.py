"""The design of Atelier's specification: Flask with its own server, with the extractive engine that Atelier serves.

    python -m benchmarks.peers.flask_app PORT

The specification starts it by ``app.run`` in its container, too, and names no other server.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, jsonify, request

from runners.artifacts import store
from runners.models.summarizers import ranker
from runners.models.summarizers.base import Task
from runners.models.summarizers.extractive import Extractive
from runners.models.text.language import detect

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 16 * 1024 * 1024
shipped = store.SHIPPED[store.SUMMARIZATION]
summarizer = Extractive(ranker.read(shipped), store.SUMMARIZATION)


@app.post("/summarize/text")
def summarize_text() -> Response | tuple[Response, int]:
    """Summarize a text."""
    data: dict[str, Any] | None = request.get_json()
    if not data or "text" not in data:
        return jsonify({"error": "Missing text field"}), 400
    text, max_length, temperature = data["text"], data.get("max_length", 128), data.get("temperature", 0.7)
    if not text.strip():
        return jsonify({"error": "Empty text provided"}), 400
    try:
        (summary,) = summarizer.summarize([Task(text, max_length, temperature, detect(text))])
    except Exception as error:  # as in the specification
        return jsonify({"error": str(error)}), 500
    answer = {
        "summary": str(summary),
        "original_length": len(text),
        "summary_length": len(str(summary)),
        "compression_ratio": round(len(text) / len(str(summary)), 2) if summary else 0,
        "parameters": {"max_length": max_length, "temperature": temperature},
        "timestamp": datetime.now(UTC).isoformat(),
    }
    return jsonify(answer)


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(sys.argv[1]), debug=False)
