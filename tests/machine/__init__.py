"""Are the cores and GPUs of this machine counted as CUDA and the kernel count them?"""
