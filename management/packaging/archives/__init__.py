"""How does an archive become a Bento or a model in the store, and how does it go out again?"""
