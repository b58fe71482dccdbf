"""How does a swarm of several nodes run on one machine?"""
