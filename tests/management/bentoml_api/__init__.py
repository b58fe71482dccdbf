"""Do BentoML's own program and client work with the management as with their cloud?"""
