"""Checks the layout: modules per folder, a question in each folder's docstring, and unique class names.

Prints the figures; the exit status is 1 if any check fails.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_MODULES = 14
"""Maximum number of modules in one folder."""
PACKAGES = ("web", "management", "runners", "training", "benchmarks")


def main() -> None:
    """Print the figures and the failed checks, and exit."""
    files = [Path(line) for line in _git("ls-files", "--cached", "--others", "--exclude-standard", "*.py")]
    files = [file for file in files if (ROOT / file).is_file()]
    failures = [*_full_folders(files), *_missing_questions(files), *_repeated_names(files)]
    lines = sum(len((ROOT / file).read_text().splitlines()) for file in files if file.parts[0] != "tests")
    print(f"lines of Python outside tests: {lines}")
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(bool(failures))


def _full_folders(files: list[Path]) -> Iterator[str]:
    counts = Counter(file.parent for file in files)
    fullest, largest = counts.most_common(1)[0]
    print(f"modules in the fullest folder: {largest} ({fullest}), at most {MAX_MODULES}")
    for folder, count in counts.items():
        if count > MAX_MODULES:
            yield f"{folder} holds {count} modules: at most {MAX_MODULES}"


def _missing_questions(files: list[Path]) -> Iterator[str]:
    for file in files:
        if file.name == "__init__.py" and "?" not in (ast.get_docstring(_parse(file)) or ""):
            yield f"{file}: its docstring asks no question that the folder answers"


def _repeated_names(files: list[Path]) -> Iterator[str]:
    repeated = 0
    for package in PACKAGES:
        files_by_name = defaultdict(list)
        for file in files:
            if file.parts[0] == package:
                for node in _parse(file).body:
                    if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                        files_by_name[node.name].append(str(file))
        for name, paths in files_by_name.items():
            if len(paths) > 1:
                repeated += 1
                yield f"{package}: the class name {name} is defined in {' and '.join(paths)}"
    print(f"class names defined twice in one package: {repeated}")


def _parse(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


def _git(*arguments: str) -> list[str]:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


if __name__ == "__main__":
    main()
