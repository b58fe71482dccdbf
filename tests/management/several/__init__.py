"""Are several control planes of one database one server to those who call them?"""
