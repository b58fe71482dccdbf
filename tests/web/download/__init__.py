"""Does the downloader go only where it may?"""
