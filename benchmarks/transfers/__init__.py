"""What does it cost the server to take Bentos in, and to give them out?"""
