"""Does this machine's fastest engine compute what float32 does? Asked where a model is published."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runners.engines import load
from runners.engines.onnx_cpu import OnnxEngine
from runners.errors import ModelUnavailable
from runners.models.vision.transform import EvalTransform

LEAST_COSINE: Final = 0.999
PICTURES: Final = 16
COARSE: Final = 12
"""Squares a side of the pictures that both look at: as coarse as land, not noise."""


def check(path: Path) -> float:
    """The least cosine between what both engines say of the same pictures. Raises ModelUnavailable."""
    served = load.load(path)
    if served.precision == "float32":
        return 1.0
    exact = OnnxEngine(path, threads=1)
    pixels = _pictures(EvalTransform.from_dict(served.facts["transform"]))
    least = float(cosines(served(pixels), exact(pixels)).min())
    if not least >= LEAST_COSINE:  # NaN is not
        raise ModelUnavailable(
            f"{served.name} in {served.precision} computes something else than float32 here (cosine {least:.4f}); "
            "set ATELIER_PRECISION=float32"
        )
    return least


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine between rows: [N, K], [N, K] -> [N]."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosine: NDArray[np.float32] = (one * other).sum(axis=1) / lengths
    return cosine


def _pictures(transform: EvalTransform) -> NDArray[np.uint8]:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (PICTURES, COARSE, COARSE, 3), dtype=np.uint8)
    return np.stack([transform(Image.fromarray(one)) for one in coarse])
