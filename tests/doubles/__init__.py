"""What stands in for a part: engines, launchers, replicas, readers and checkpoints, well and badly behaved."""
