"""What is remembered: deployments, replicas, events, keys, answers to be given again, and who may act."""

from management.store.store import Session, Store

__all__ = ["Session", "Store"]
