"""Does every command of BentoML's own program do here what it does for its cloud?"""
