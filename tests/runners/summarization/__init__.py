"""Are summaries asked for and made as the document says?"""
