"""How does a replica run as a service of a Docker Swarm?"""
