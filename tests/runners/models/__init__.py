"""Do the models of texts do as they should?"""
