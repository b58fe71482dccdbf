"""Does each request find its turn and its replica?"""
