"""Whether this machine's fastest engine agrees with float32. The check runs when a model is published."""

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

MIN_COSINE: Final = 0.999
"""Smallest accepted cosine between the outputs of both engines."""
PICTURES: Final = 16
"""Number of random pictures that both engines compute."""
SQUARES_PER_SIDE: Final = 12
"""Random squares on each side of a picture: coarse like land, unlike noise."""


def check(path: Path) -> float:
    """Return the least cosine between both engines' outputs. Raises ModelUnavailable below ``MIN_COSINE``."""
    served = load.load(path)
    if served.precision == "float32":
        return 1.0
    exact = OnnxEngine(path, threads=1)
    pixels = _pictures(EvalTransform.from_dict(served.facts["transform"]))
    least = float(cosines(served(pixels), exact(pixels)).min())
    if not least >= MIN_COSINE:  # NaN is not
        raise ModelUnavailable(
            f"{served.name} in {served.precision} differs from float32 on this machine (cosine {least:.4f}); "
            "set ATELIER_PRECISION=float32"
        )
    return least


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosines between corresponding rows: [N, K], [N, K] -> [N]."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosine: NDArray[np.float32] = (left * right).sum(axis=1) / lengths
    return cosine


def _pictures(transform: EvalTransform) -> NDArray[np.uint8]:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (PICTURES, SQUARES_PER_SIDE, SQUARES_PER_SIDE, 3), dtype=np.uint8)
    return np.stack([transform(Image.fromarray(squares)) for squares in coarse])
