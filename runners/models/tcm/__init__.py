"""What do Chinese medicine's textbooks say of these symptoms?"""
