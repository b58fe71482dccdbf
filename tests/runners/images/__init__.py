"""Do pictures of every kind become the right pixels, at a bounded cost?"""
