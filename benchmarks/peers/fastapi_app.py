"""The design of Atelier's specification: FastAPI under Uvicorn, one picture at a time, in float32, as in tutorials."""

from __future__ import annotations

from typing import Any

import torch
from fastapi import FastAPI, UploadFile

from benchmarks.peers.network import answers, load, picture, task

app = FastAPI()
TASK = task()
model, transform = load(TASK)


# Plain ``def``, as FastAPI's documentation advises for blocking code: it runs in a thread pool.
@app.post(f"/{TASK}")
def predict(image: UploadFile) -> dict[str, Any]:
    """Return the answer for a picture."""
    pixels = transform(picture(image.file.read())).unsqueeze(0)
    with torch.no_grad():
        output = model(pixels)
    return answers(TASK, output)[0]
