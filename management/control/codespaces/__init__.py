"""Which deployments are edited while they run, and what becomes of each edit?"""
