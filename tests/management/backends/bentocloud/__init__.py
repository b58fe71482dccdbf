"""Does the engine of BentoCloud do as its documents say?"""
