"""Which fakes replace a part in tests? Engines, launchers, replicas, readers and checkpoints, good and faulty."""
