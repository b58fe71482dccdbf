"""What is every replica started with, and how does it prove whose it is?"""
