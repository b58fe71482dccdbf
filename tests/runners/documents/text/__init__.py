"""Are texts and mail read right, and formats told apart?"""
