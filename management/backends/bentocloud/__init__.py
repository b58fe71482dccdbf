"""How does BentoCloud keep a deployment?"""
