"""Which networks classify and embed pictures, and what do their inputs and outputs mean?"""
