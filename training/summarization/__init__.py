"""Where do the sentence ranker and fast checkpoints come from, and how good are summaries?"""
