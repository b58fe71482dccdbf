"""How the replicas of a new revision take the place of the old ones."""

from __future__ import annotations

from enum import StrEnum


class Strategy(StrEnum):
    """A strategy of updates. None of them changes how replicas start where no others serve."""

    ROLLING_UPDATE = "RollingUpdate"
    """One new replica at a time, the next as soon as it is ready, while the old one that it replaces still drains."""
    RECREATE = "Recreate"
    """All old replicas end before the first new one starts. Requests wait meanwhile."""
    RAMPED_SLOW_ROLLOUT = "RampedSlowRollout"
    """One new replica at a time, the next after an old one is gone: never more than one beyond the desired number."""
    BEST_EFFORT = "BestEffortControlledRollout"
    """All new replicas at once beside the old ones, as far as there is room for them."""
