"""Code that needs numpy 1: it uses names that numpy 2 took away."""

from __future__ import annotations

import bentoml
import numpy as np


@bentoml.service
class Numpy1:
    """Computes with numpy 1."""

    @bentoml.api
    def compute(self, values: list[float]) -> dict[str, str | float]:
        """Return numpy's version, and the product of the values."""
        return {"numpy": np.__version__, "product": float(np.product(np.asfarray(values)))}
