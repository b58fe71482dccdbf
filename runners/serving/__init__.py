"""How does BentoML serve a model? Service, application, batches, and calls between processes."""
