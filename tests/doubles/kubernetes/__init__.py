"""What does a Kubernetes cluster do for its callers, without one?"""
