"""Do replicas run as services of a Docker Swarm, wherever their nodes are, and whatever becomes of them?"""
