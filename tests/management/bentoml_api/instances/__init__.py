"""Are instance types those of the machine, or of the operator?"""
