"""How is one model served? One adaptive-batching BentoML service per model, behind one contract."""
