"""How long does it take until something answers: a server, a model, a replica, an edit?"""
