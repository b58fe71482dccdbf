"""Five times what a model can do: it does what it can, refuses the rest at once, and serves first what is urgent.

The model takes 0.1 to 0.3 s for a request and one at a time, so that the replicas are what is scarce, not this machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.support.calls import deploy, infer, until
from tests.support.load import Answer, Ask, callers, percentile, rate
from tests.support.management_servers import managing
from tests.support.running.figures import JUDGED, SLACK, Figure
from tests.support.victims import ready

pytestmark = pytest.mark.slow

REPLICAS: Final = 8
PEAK_SECONDS: Final = 6.0
OVERLOAD_SECONDS: Final = 30.0
TIMES: Final = 5
SLOW: Final = {"sleep": [0.1, 0.3]}
WAYS: Final = [False, True] if JUDGED else [False]
"""Whether the model is called at its own address; both ways go through the same queue."""
HIGH_PER_SECOND: Final = 4
UNLOADED_CALLS: Final = 100

LEAST_GOODPUT: Final = 0.9
LATEST_REFUSAL: Final = 0.05
MOST_GROWTH_MB: Final = 50.0
HIGH_TIMES: Final = 2.0
MOST_LAG: Final = 0.05
"""Seconds that the generator itself may be late (99 of 100 calls) for its figures to be believed."""


@pytest.mark.parametrize("own", WAYS, ids=lambda own: "own address" if own else "inference")
def test_at_five_times_its_peak_a_model_does_what_it_can_and_what_is_urgent_first(
    own: bool, echo_bentos: Path, figure: Figure
) -> None:
    normal, high_ask = Ask(input_data=SLOW, own=own), Ask(input_data=SLOW, priority="high", own=own)
    with managing(echo_bentos, ATELIER_CONCURRENCY="1", ATELIER_QUEUE_SIZE="16") as server:
        with server.client() as api:
            deploy(api, scaling_config={"min_replicas": REPLICAS, "max_replicas": REPLICAS}).raise_for_status()
            until(lambda: len(ready(api)) == REPLICAS)
            for _ in range(2 * REPLICAS):
                infer(api, SLOW)
        with callers(server, 1, high_ask, most=UNLOADED_CALLS) as unloaded:
            until(unloaded.over.is_set, SLACK * 60)
        with callers(server, 2 * REPLICAS, normal) as climb:
            time.sleep(PEAK_SECONDS)
        peak = goodput(climb.answers, PEAK_SECONDS)
        process = psutil.Process(server.pid)
        memory = [process.memory_info().rss]
        began = time.monotonic()
        with rate(server, TIMES * peak, normal) as flood, rate(server, HIGH_PER_SECOND, high_ask) as high:
            while time.monotonic() < began + OVERLOAD_SECONDS:
                time.sleep(0.5)
                memory.append(process.memory_info().rss)
    done = goodput([*flood.answers, *high.answers], OVERLOAD_SECONDS)
    refusals = flood.failed
    refused = percentile(refusals, 99)
    growth = (max(memory) - memory[0]) / 1e6
    served = [answer for answer in high.answers if answer.good]
    usual, urgent = percentile(unloaded.answers, 99), percentile(served, 99)
    lag = sorted(flood.lags)[int(0.99 * len(flood.lags))]
    figure(
        f"{done:.0f} of {peak:.0f} a second ({done / peak:.0%}); {len(refusals):,} refused in {refused * 1000:.0f} ms"
        f" (p99); {growth:+.0f} MB; urgent ones {urgent * 1000:.0f} ms (p99 of {len(served)}, without load"
        f" {usual * 1000:.0f} ms), {len(high.failed)} of them refused; the generator {lag * 1000:.0f} ms late (p99)",
        goal=f"{LEAST_GOODPUT:.0%}; {LATEST_REFUSAL * 1000:.0f} ms; {MOST_GROWTH_MB:.0f} MB; {HIGH_TIMES:g} times that"
        " without load, none refused",
    )
    assert lag <= MOST_LAG or not JUDGED
    assert flood.unsent == 0 or not JUDGED
    assert not unloaded.failed, unloaded.told
    assert not climb.failed, climb.told
    assert {(refusal.status, refusal.code) for refusal in refusals} == {(503, "INSUFFICIENT_RESOURCES")}, flood.told
    assert all(int(refusal.retry_after or 0) >= 1 for refusal in refusals)
    assert done >= LEAST_GOODPUT * peak / SLACK
    assert refused <= LATEST_REFUSAL or not JUDGED
    assert growth <= MOST_GROWTH_MB
    assert not high.failed, high.told
    assert urgent <= HIGH_TIMES * usual or not JUDGED


def goodput(answers: list[Answer], seconds: float) -> float:
    """Results a second."""
    return sum(answer.good for answer in answers) / seconds
