"""How do the sources of a service that is edited while it runs become a Bento?"""
