"""Do the sources of a codespace become the Bento that a build would make of them?"""
