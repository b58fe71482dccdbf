"""How does BentoML run a model? Service, application, batches, and calls between processes."""
