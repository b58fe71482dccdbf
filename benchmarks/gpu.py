"""Measures the pictures a second of a GPU: python -m benchmarks.gpu, on a machine that has one.

With the shipped network's graph (ResNet18) at 224 x 224 pixels, in one process, in one run:

    eager float32      torch, one picture at a time, as tutorials write it
    eager bfloat16     torch, channels last, in batches
    compiled           the same under torch.compile
    atelier            runners.engines.torch_gpu: the same with recorded CUDA graphs and pinned memory
    pipeline, Pillow   JPEG bytes to answers: decoded by Pillow on the cores, then atelier's engine
    pipeline, nvJPEG   JPEG bytes to answers: decoded and resized on the GPU in batches, then atelier's engine

The lines are measured in turn, for several rounds; the table shows medians. ``--device cpu`` tries the program without
a GPU; its figures then say nothing about a GPU.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from runners.artifacts import store
from runners.engines.torch_gpu import SIZES, TorchEngine, from_file
from runners.images import decode
from runners.models.vision.transform import IMAGENET_TRANSFORM

SIDE: Final = IMAGENET_TRANSFORM.crop
EXAMPLES: Final = Path(__file__).parents[1] / "examples"

Run = Callable[[int], None]
"""Runs a batch of that many pictures, and waits for the result."""


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU here that torch can use (--device cpu tries the program without one)")
    figures = measure(arguments.device, arguments.seconds, arguments.rounds)
    show(figures, arguments.device)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"device": name_of(arguments.device), "figures": figures}, indent=2) + "\n"
        )


def measure(device: str, seconds: float, rounds: int) -> dict[str, dict[int, float]]:
    """Return the median pictures a second over the rounds, by contender and batch size."""
    runs = contenders(device)
    rates: dict[str, dict[int, list[float]]] = {name: {} for name in runs}
    turns = [
        (name, size) for _ in range(rounds) for name in runs for size in SIZES if size == 1 or "float32" not in name
    ]
    for name, size in track(turns, description="measuring", console=Console(stderr=True)):
        rates[name].setdefault(size, []).append(rate(runs[name], size, seconds))
    return {
        name: {size: statistics.median(values) for size, values in by_size.items()} for name, by_size in rates.items()
    }


def rate(run: Run, size: int, seconds: float) -> float:
    """Return pictures a second, after two warm-up batches."""
    run(size)
    run(size)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        run(size)
        count += size
    return count / (time.perf_counter() - started)


def contenders(device: str) -> dict[str, Run]:
    """Return the lines of the table as functions."""
    engine = from_file(store.EMBEDDING_FILE, device=device)
    module = engine.module
    compiled = torch.compile(module, dynamic=False)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZES[-1], SIDE, SIDE, 3), dtype=np.uint8)
    files = jpegs(SIZES[-1])
    return {
        "eager float32": lambda size: eager(module, pixels[:size], device, half=False),
        "eager bfloat16": lambda size: eager(module, pixels[:size], device, half=True),
        "compiled": lambda size: eager(compiled, pixels[:size], device, half=True),
        "atelier": lambda size: discard(engine(pixels[:size])),
        "pipeline, Pillow": lambda size: discard(engine(decoded(files[:size]))),
    } | ({"pipeline, nvJPEG": lambda size: discard(on_gpu(engine, files[:size]))} if device == "cuda" else {})


def discard(_: object) -> None:
    """Discard a result: an engine's is on the CPU already, so there is nothing to wait for."""


@torch.inference_mode()
def eager(module: Callable[[Tensor], Tensor], pixels: NDArray[np.uint8], device: str, *, half: bool) -> None:
    """Run a batch through a module without CUDA graphs, and copy the result to the CPU."""
    with torch.autocast(device, torch.bfloat16, enabled=half):
        module(torch.from_numpy(pixels).to(device)).float().cpu()


def jpegs(number: int) -> list[bytes]:
    """Return 640 x 480 JPEG files of the project's examples."""
    sources = sorted(EXAMPLES.glob("*.jpg"))
    files = []
    for index in range(number):
        with Image.open(sources[index % len(sources)]) as image:
            file = BytesIO()
            image.convert("RGB").resize((640, 480)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


_decoders: Final = ThreadPoolExecutor()


def decoded(files: list[bytes]) -> NDArray[np.uint8]:
    """Decode with Pillow in threads, as the services do."""
    return np.stack([*_decoders.map(lambda file: IMAGENET_TRANSFORM(decode.decode(file)), files)])


def on_gpu(engine: TorchEngine, files: list[bytes]) -> NDArray[np.float32]:
    """Decode with nvJPEG and resize on the GPU; the pixels are never copied to the CPU."""
    encoded = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
    pictures: list[Tensor] = decode_jpeg(encoded, mode=ImageReadMode.RGB, device="cuda")
    squares = [
        F.center_crop(
            F.resize(picture, [IMAGENET_TRANSFORM.resize], InterpolationMode.BILINEAR, antialias=True), [SIDE]
        )
        for picture in pictures
    ]
    return engine.on_device(torch.stack(squares).permute(0, 2, 3, 1))


def name_of(device: str) -> str:
    """Return the name of the GPU, or of the processor."""
    return torch.cuda.get_device_name() if device == "cuda" else f"{platform.processor() or 'CPU'}, no GPU"


def show(figures: dict[str, dict[int, float]], device: str) -> None:
    """Print the table."""
    table = Table(title=f"pictures a second, {name_of(device)}, torch {torch.__version__}")
    table.add_column("batches of")
    for size in SIZES:
        table.add_column(str(size), justify="right")
    for name, by_size in figures.items():
        table.add_row(name, *(f"{by_size[size]:,.0f}" if size in by_size else "" for size in SIZES))
    Console().print(table)


if __name__ == "__main__":
    main()
