"""Which requests does a measured server get, and on which machine?"""
