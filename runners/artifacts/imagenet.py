"""torchvision's ImageNet weights of ResNet18, from timm's safetensors file: needs neither pickle nor torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import requests
from numpy.typing import NDArray
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.numpy import load_file

from runners.models.vision.transform import IMAGENET_TRANSFORM

URL: Final = (
    "https://huggingface.co/timm/resnet18.tv_in1k/resolve/bbd144b3e5565108aad885f145491d11bc6ce807/model.safetensors"
)
SHA256: Final = "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81"
MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the largest download that is accepted; the file has 46,807,446."""
TIMEOUT_SECONDS: Final = 15.0
"""Seconds to connect, and seconds without a received byte."""
PIECE_BYTES: Final = 256 * 1024

FACTS: Final[dict[str, Any]] = {
    "network": "ResNet18",
    "weights": "torchvision ResNet18_Weights.IMAGENET1K_V1, from timm/resnet18.tv_in1k",
    "licence": "BSD-3-Clause",
    "transform": IMAGENET_TRANSFORM.as_dict(),
}


def download(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return the trunk's tensors by torchvision's names. Raises OSError if the download fails or is not the file."""
    file = folder / "resnet18.safetensors"
    digest = hashlib.sha256()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with requests.get(URL, stream=True, timeout=TIMEOUT_SECONDS) as response, file.open("wb") as out:
        response.raise_for_status()
        size = int(response.headers.get("Content-Length", 0)) or None
        with Progress(*columns) as progress:
            task = progress.add_task("ImageNet weights", total=size)
            for piece in response.iter_content(PIECE_BYTES):
                digest.update(piece)
                out.write(piece)
                progress.advance(task, len(piece))
                if out.tell() > MAX_BYTES:
                    raise OSError("the download is too large")
    if digest.hexdigest() != SHA256:
        raise OSError("the download is damaged")
    return {name: value for name, value in load_file(file).items() if not name.startswith("fc.")}
