"""Are models deployed, called, scaled, updated and deleted as promised?"""
