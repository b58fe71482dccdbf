"""How does the recorded state become the desired one? One leader observes, plans, records and acts.

- Desired: the deployments as callers want them, with their revision and number of replicas. Commands write it.
- Recorded: the replicas that the leader has started or adopted, each with its state. The journal writes it.
- Observed: what the backend shows at this moment. It is kept in memory alone.
"""
