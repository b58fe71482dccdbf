"""How is a server started, watched and ended?"""
