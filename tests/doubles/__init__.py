"""What stands in for a part? Engines, launchers, replicas, readers and checkpoints, well and badly behaved."""
