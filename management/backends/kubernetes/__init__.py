"""How does a replica run as a Pod of a Kubernetes cluster?"""
