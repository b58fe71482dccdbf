"""Does the command line do as its help says?"""
