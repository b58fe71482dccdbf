"""Do pushes in parts come in whole, and does every worker know of them?"""
