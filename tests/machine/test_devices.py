"""GPUs are those that CUDA would give this process: what the environment lists, of what the driver shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from machine import devices
from machine.devices import VISIBLE_DEVICES, cores, gpus, listed_gpus
from management.backends.machine import capacity
from tests.doubles.management import settings

GPUS: dict[str, tuple[int, str | None, int]] = {
    "no driver": (0, None, 0),
    "no driver, one listed": (0, "0", 0),
    "all of eight": (8, None, 8),
    "none of eight": (8, "", 0),
    "none of eight, by -1": (8, "-1", 0),
    "the first of eight": (8, "0", 1),
    "one of eight": (8, "5", 1),
    "two of eight, with spaces": (8, " 2 , 3 ", 2),
    "what comes after a -1 does not count": (8, "0,1,-1,2", 2),
    "what comes after a number that no GPU has does not count": (2, "1,2,0", 1),
    "by UUID": (8, "GPU-8932f937,GPU-1a2b3c4d", 2),
    "more UUIDs than GPUs": (1, "MIG-1,MIG-2", 1),
}


@pytest.mark.parametrize(("shown", "listed", "usable"), GPUS.values(), ids=GPUS)
def test_gpus_are_counted_as_cuda_counts_them(
    shown: int, listed: str | None, usable: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(shown):
        (tmp_path / f"0000:{number:02x}:00.0").mkdir()
    monkeypatch.setattr(devices, "DRIVER_GPUS", tmp_path)
    monkeypatch.delenv(VISIBLE_DEVICES, raising=False)
    if listed is not None:
        monkeypatch.setenv(VISIBLE_DEVICES, listed)
    assert gpus() == usable
    home = tmp_path / "home"
    assert capacity(settings(home, gpus=None).capacity).limit.gpus == usable


def test_listed_gpus_keep_their_names_and_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE_DEVICES, "3, GPU-8932f937,,1,-1,0")
    assert listed_gpus() == ["3", "GPU-8932f937", "1"]
    monkeypatch.delenv(VISIBLE_DEVICES)
    assert listed_gpus() is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_cores_are_those_that_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores() == len(allowed)
