"""What does a PDF say, and can its text layer be trusted?"""
