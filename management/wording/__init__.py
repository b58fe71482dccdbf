"""In which words does the management answer?"""
