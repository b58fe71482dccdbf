"""Where do replicas run? One folder each, chosen by name in ``registry``."""
