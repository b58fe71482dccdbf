"""Do reading processes keep to deadlines, budgets and turns?"""
