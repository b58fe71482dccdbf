"""What does each path of the API do?"""
