"""Do batches, calls between processes and workers do as they should?"""
