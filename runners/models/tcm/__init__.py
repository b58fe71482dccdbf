"""Which syndromes and herbs do the textbooks of Chinese medicine name for a patient's symptoms?"""
