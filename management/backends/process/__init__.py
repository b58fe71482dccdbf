"""How does a replica run as a process of this machine?"""
