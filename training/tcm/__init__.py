"""Where do the networks of Chinese medicine come from?"""
