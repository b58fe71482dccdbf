"""Counts the real pictures that are rejected before the network, and the reflectances classified right.

    python -m benchmarks.content_measures --data folder

``folder`` is the one of ``make train``, or any folder of pictures; the counts are by the folder of a picture.
"""

from __future__ import annotations

import argparse
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runners.contract import InferenceRequest
from runners.images import tiff
from runners.images.decode import decode
from runners.models.vision.satellite import CLASSES
from runners.satellite.content import is_empty
from runners.satellite.service import SatelliteModel

COVERS: Final = {"Forest": "forest", "SeaLake": "sea", "Desert": "desert", "BareLand": "desert"}
"""Cover of each class of EuroSAT and AID that shows one of the four."""

WHITE: Final = 2750
"""Reflectance that is white in EuroSAT's pictures."""

SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


def main(arguments: list[str]) -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    folder: Path = parser.parse_args(arguments).data
    seen, empty = Counter[str](), Counter[str]()
    for path in _pictures(folder):
        seen[path.parent.name] += 1
        empty[path.parent.name] += is_empty(decode(path.read_bytes(), 192))
    for name in sorted(seen):
        print(f"{name}: {empty[name]} of {seen[name]} rejected before the network")
    print(f"together: {empty.total()} of {seen.total()}")
    for name, (right, total) in classified(folder).items():
        print(f"{name}, as 16-bit reflectances: {right} of {total} named right")


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)


def classified(folder: Path) -> dict[str, tuple[int, int]]:
    """Count each cover's validation tiles that are classified right as TIFFs of reflectances, and all of them."""
    model, right, totals = SatelliteModel(), Counter[str](), Counter[str]()
    for path in _pictures(folder):
        cover = COVERS.get(path.parent.name)
        if cover is None or "val" not in path.parts:
            continue
        data = reflectances(np.asarray(decode(path.read_bytes())))
        (result,) = model.infer([InferenceRequest(input_data={"image": data}, parameters={"lang": "en"})])
        answer: dict[str, Any] = result.output_data or {}
        totals[cover] += 1
        right[cover] += answer.get("label") == cover and not answer["rejected"]
    return {cover: (right[cover], totals[cover]) for cover in CLASSES if totals[cover]}


def reflectances(picture: NDArray[np.uint8]) -> bytes:
    """Return the picture as GDAL stores three bands of 16 bits: planes in sequence, with grey as interpretation."""
    planes = np.rint(picture * (WHITE / 255)).astype("<u2").transpose(2, 0, 1)
    height, width, bands = picture.shape
    size = 2 * height * width
    tags: dict[int, list[int]] = {256: [width], 257: [height], 258: [16] * bands, 259: [1], 262: [1]}
    tags |= {273: [8 + size * band for band in range(bands)], 277: [bands], 278: [height], 279: [size] * bands}
    tags |= {284: [2], 338: [0] * (bands - 1), 339: [1] * bands}
    entries = {tag: (4, len(values), struct.pack(f"<{len(values)}L", *values)) for tag, values in tags.items()}
    return tiff.classic(bytes(8) + planes.tobytes(), "<", entries)


if __name__ == "__main__":
    main(sys.argv[1:])
