"""The documents' own design: FastAPI under Uvicorn, one picture at a time, in float32, as a tutorial has it."""

from __future__ import annotations

from typing import Any

import torch
from fastapi import FastAPI, UploadFile

from benchmarks.peers.network import answers, load, picture, task

app = FastAPI()
TASK = task()
model, transform = load(TASK)


# Plain ``def``: FastAPI's documentation says so for whatever blocks, and runs it in its pool of threads.
@app.post(f"/{TASK}")
def predict(image: UploadFile) -> dict[str, Any]:
    """One picture's answer."""
    pixels = transform(picture(image.file.read())).unsqueeze(0)
    with torch.no_grad():
        output = model(pixels)
    return answers(TASK, output)[0]
