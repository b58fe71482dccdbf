"""What is known of a text before any model reads it?"""
