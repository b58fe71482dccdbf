"""Which pushes of BentoML's own client have begun, and how far is each?

All of it is on the disk, in the BentoML home, so that every worker and a restarted server know the same.
"""
