"""How is any Bento called with the documented body? An API is chosen, arguments are checked, an answer is read."""
