"""Do the Bentos that people write serve as their authors know them?"""
