"""Is everything that is restored what was backed up?"""
