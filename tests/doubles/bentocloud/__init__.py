"""A local BentoCloud that BentoML's own client speaks to."""
