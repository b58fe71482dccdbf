"""How does the recorded state become the desired one? One leader observes, plans, records and acts."""
