"""Which cores and GPUs does this machine have?"""
