"""Where do replicas run? One folder each with a launcher or an engine, chosen by name in ``registry``."""
