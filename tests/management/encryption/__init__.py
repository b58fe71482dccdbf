"""Are values at rest readable with their key alone?"""
