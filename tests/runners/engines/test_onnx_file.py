"""ONNX Runtime as we run it tells nobody of us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT

OURS = """
from pathlib import Path
from runners.models.onnx_file import OnnxFile
OnnxFile(Path("runners/weights/tcm-diagnosis-1.0.0.onnx"))
"""
OCRS = """
from runners.documents.scans import ocr
import onnxruntime
onnxruntime.InferenceSession("runners/weights/tcm-diagnosis-1.0.0.onnx", providers=["CPUExecutionProvider"])
"""


@pytest.mark.server
@pytest.mark.parametrize("program", [OURS, OCRS], ids=["ours", "of the reading processes"])
def test_a_session_leaves_no_device_id_for_telemetry(tmp_path: Path, program: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    homes = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment | homes, check=True)
    assert list(tmp_path.rglob("*")) == []
