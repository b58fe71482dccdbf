"""What is remembered? Deployments, replicas, events, keys, replies to repeat, load reports, and which worker leads."""

from management.store.store import Session, Store

__all__ = ["Session", "Store"]
