"""Does every launcher keep the launchers' contract?"""
