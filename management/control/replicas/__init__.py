"""Which replicas are alive, and which are started or stopped? Observed by ``prober``, evaluated by ``transitions``."""
