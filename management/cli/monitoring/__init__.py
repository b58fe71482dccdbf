"""How busy is this machine, and how do the models perform?"""
