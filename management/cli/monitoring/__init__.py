"""What is the machine busy with, and how do its models fare?"""
