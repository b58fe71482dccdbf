"""How are the tables migrated from one version to the next?"""
