"""Which forms have the values that callers send, through whatever front?"""
