"""Do checkpoints load and generate as published ones do?"""
