"""What does a satellite picture show?"""
