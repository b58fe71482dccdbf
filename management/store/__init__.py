"""What is stored? Deployments, replicas, events, keys, replies to repeat, load reports, and the supervisor's lease."""

from management.store.store import Session, Store

__all__ = ["Session", "Store"]
