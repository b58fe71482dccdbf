"""What is stored, and in which columns? Deployments, replicas, events, keys, replies, load reports and leases."""

from management.store.store import Session, Store

__all__ = ["Session", "Store"]
