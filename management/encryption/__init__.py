"""How are values encrypted at rest, so that neither the database nor a back-up reveals them?"""
