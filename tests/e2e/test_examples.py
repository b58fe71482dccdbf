"""The example pictures are what the model says they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.contract import InferenceRequest
from runners.satellite.service import SatelliteModel
from tests.support.servers import ROOT

NAMES = {"forest": "forêt", "sea": "mer", "desert": "désert", "clouds": "nuageux"}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_picture_is_recognised(name: str, store: Path) -> None:
    image = (ROOT / "examples" / f"{name}.jpg").read_bytes()
    (result,) = SatelliteModel().infer([InferenceRequest(input_data={"image": image})])
    assert result.output_data is not None
    assert result.output_data["label"] == NAMES[name]
    assert not result.output_data["rejected"]
