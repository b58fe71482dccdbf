"""Finds the fastest way to run a summarization checkpoint on this machine, and writes a checkpoint that runs so.

    python -m training.summarization.optimize --model_path IN --output_path OUT

The original in float32 is compared with bfloat16 (on a GPU float16, too), each eager and compiled by torch.compile.
Of the candidates that run and agree with the original, the fastest is written to OUT: a normal Hugging Face checkpoint
(safetensors, tokenizer, config) and ``atelier.json``, which the engines honour on a device of the same type. Exported
graphs are not tried: reading one from a file (.pt2) unpickles, and serving loads no code and no pickles. IN is only
read. Exit status: 0 written, 1 a step failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from runners.models.summarizers.neural import checkpoints
from runners.models.summarizers.neural.checkpoints import CheckpointError
from training.summarization.trials import Bench, Candidate, Trial, one_line, texts

MAX_COMPILED_SHARE = 0.9
"""Maximum share of the eager time that compiled kernels may take: compiling takes minutes at every start."""

SAMPLE = """\
The city council published its new transport plan on Monday. It foresees eleven kilometres of cycle paths, two tram
lines and fewer parking places in the old town. Shopkeepers fear for their customers, while residents of the northern
districts, who have waited for a tram since 1998, welcome the decision. The works begin in spring and are to cost 240
million euros, of which the state bears a third. Citizens may object within three weeks; a vote follows in October.
The mayor said that nobody would be worse off. The opposition doubts the figures and asks for an independent report,
because the last project of this size cost twice as much as planned and was finished four years late."""


def candidates() -> list[Candidate]:
    """Return the candidates, the original first."""
    halves = ["bfloat16", "float16"] if torch.cuda.is_available() else ["bfloat16"]
    return [Candidate(dtype, compiled) for dtype in ["float32", *halves] for compiled in (False, True)]


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the fastest candidate that agrees, if its compilation pays off; None where nothing agrees."""
    agreeing = [trial for trial in trials if trial.agrees]
    return min(
        agreeing,
        key=lambda trial: trial.seconds / (MAX_COMPILED_SHARE if trial.candidate.compiled else 1.0),
        default=None,
    )


def table(trials: Sequence[Trial], chosen: Trial | None) -> str:
    """Return latency, memory and agreement, a line a candidate; the first is "before", the chosen one "after"."""
    memory = "peak MB" if torch.cuda.is_available() else "weights MB"
    lines = [f"{'':8}{'candidate':22}{'seconds':>10}{memory:>12}{'cosine':>9}{'agreement':>11}"]
    for number, trial in enumerate(trials):
        mark = "after" if trial is chosen else "before" if number == 0 else ""
        if trial.failure:
            lines.append(f"{mark:8}{trial.candidate.name:22}failed: {trial.failure}")
            continue
        figures = f"{trial.seconds:10.3f}{trial.megabytes:12.1f}{trial.cosine:9.4f}{trial.agreement:11.1%}"
        lines.append(f"{mark:8}{trial.candidate.name:22}{figures}{'' if trial.agrees else '  does not agree'}")
    return "\n".join(lines)


def write(bench: Bench, chosen: Trial, before: Trial, out: Path) -> None:
    """Write the checkpoint to a temporary folder and rename that to ``out``. Raises what loading and saving raise."""
    loaded = bench.load(Candidate(chosen.candidate.dtype, compiled=False))
    facts = {
        "dtype": chosen.candidate.dtype,
        "compile": chosen.candidate.compiled,
        "device": loaded.device.type,
        "torch": torch.__version__,
        "before": _figures(before),
        "after": _figures(chosen),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        loaded.model.save_pretrained(temporary)
        loaded.processor.save_pretrained(temporary)
        (temporary / "atelier.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
        checkpoints.find(str(temporary), trust_remote_code=bench.checkpoint.trusted)  # raises if it cannot be read
        temporary.chmod(0o755)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _figures(trial: Trial) -> dict[str, float | str]:
    figures = {"seconds": trial.seconds, "megabytes": trial.megabytes, "cosine": trial.cosine}
    return {"candidate": trial.candidate.name} | {name: round(value, 5) for name, value in figures.items()}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.summarization.optimize",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model_path", required=True, help="the checkpoint: a folder or a hub name")
    parser.add_argument("--output_path", type=Path, required=True, help="a folder that is not there yet, or is empty")
    parser.add_argument(
        "--sample", type=Path, help="a UTF-8 file whose paragraphs are summarized (default: a built-in one)"
    )
    parser.add_argument(
        "--runs", type=_at_least_one, default=5, help="timed runs of each candidate (default: %(default)s)"
    )
    parser.add_argument(
        "--max_length", type=_at_least_one, default=64, help="tokens of a summary (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    parser.add_argument("--trust_remote_code", action="store_true", help="run code that comes with the checkpoint")
    parsed = parser.parse_args(arguments)
    problem = output_problem(parsed.model_path, parsed.output_path)
    if problem:
        parser.error(problem)
    return parsed


def output_problem(model: str, out: Path) -> str | None:
    """Return why nothing may be written to ``out``, or None."""
    source, target = Path(model).resolve(), out.resolve()
    if source.is_dir() and target == source:
        return "--output_path is the checkpoint itself; it would be overwritten"
    if source.is_dir() and target.is_relative_to(source):
        return "--output_path is inside the checkpoint, which is only read"
    if out.exists() and not out.is_dir():
        return f"{out} is a file"
    if out.is_dir() and any(out.iterdir()):
        return f"{out} is not empty"
    return None


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def optimize(arguments: argparse.Namespace) -> None:
    """Measure the candidates and write the best one. Raises CheckpointError, OSError, ValueError."""
    samples = texts(arguments.sample, SAMPLE)
    checkpoint = checkpoints.find(arguments.model_path, trust_remote_code=arguments.trust_remote_code)
    bench = Bench(checkpoint, samples, arguments.max_length, arguments.runs, arguments.threads)
    original = bench.original()
    trials = [bench.attempt(candidate, original) for candidate in tqdm(candidates(), unit="candidate", disable=None)]
    chosen = None if trials[0].failure else best(trials)
    print(table(trials, chosen))
    if chosen is None:
        failed = f"the original could not be measured ({trials[0].failure})"
        why = failed if trials[0].failure else "no candidate ran and agreed with the original"
        raise CheckpointError(f"Nothing was written: {why}.")
    write(bench, chosen, trials[0], arguments.output_path)
    print(f"{arguments.output_path}: {chosen.candidate.name}, {trials[0].seconds / chosen.seconds:.2f} times as fast")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parsed = parse(arguments)
    try:
        optimize(parsed)
    except Exception as error:  # print one line, and leave the checkpoint as it was
        print(f"optimize: {error if isinstance(error, CheckpointError) else one_line(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
