"""How does a replica run as a container of a Docker Engine?"""
