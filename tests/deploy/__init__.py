"""Does what ``deploy/`` ships run as its documents say?"""
