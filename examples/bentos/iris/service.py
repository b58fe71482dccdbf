"""A scikit-learn classifier with NumPy input, and with pins of its own."""

from __future__ import annotations

from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType, Shape

with bentoml.importing():  # it can be built where these are not installed
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

Flowers = Annotated[np.ndarray, Shape((-1, 4)), DType("float64")]

image = bentoml.images.Image(python_version="3.11").python_packages("numpy==1.26.4", "scikit-learn==1.5.2")


@bentoml.service(image=image)
class Iris:
    """Tells irises apart. It trains when it starts, in milliseconds, on the data that scikit-learn brings."""

    def __init__(self) -> None:
        data = load_iris()
        self.species = data.target_names
        self.model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data, data.target)

    @bentoml.api
    def classify(self, flowers: Flowers) -> list[str]:
        """Return the species of each flower: sepal length and width, petal length and width, in cm."""
        return [str(name) for name in self.species[self.model.predict(flowers)]]

    @bentoml.api
    def probabilities(self, flowers: Flowers) -> np.ndarray:
        """Return the probability of setosa, versicolor and virginica, a row for each flower."""
        return self.model.predict_proba(flowers)
