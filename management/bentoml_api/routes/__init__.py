"""Which calls of the client does the server answer?"""
