"""Code that needs numpy 2: it uses names that numpy 1 does not have."""

from __future__ import annotations

import bentoml
import numpy as np


@bentoml.service
class Numpy2:
    """Computes with numpy 2."""

    @bentoml.api
    def compute(self, values: list[float]) -> dict[str, str | float]:
        """Return numpy's version, and the length of the values as a vector."""
        return {"numpy": np.__version__, "length": float(np.linalg.vector_norm(np.asarray(values)))}
