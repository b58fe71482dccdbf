"""Does a shared store hold the same for all control planes, whatever it is made of?"""
