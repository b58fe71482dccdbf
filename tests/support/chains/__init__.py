"""How do control planes that follow one another on one home behave, and the API under thousands of requests?"""
