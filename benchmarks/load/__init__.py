"""What is asked of a server that is measured, and on which machine?"""
