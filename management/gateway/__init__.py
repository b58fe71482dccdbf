"""How does a request reach a replica? It waits in a queue by a priority that ages, gets a slot, and is sent."""
