"""Which commands run, check and save a server, and manage its keys?"""
