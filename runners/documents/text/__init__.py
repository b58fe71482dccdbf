"""What do text, Markdown, mail and XML files say?"""
