"""Which replicas are started and stopped, where the control plane runs each one itself?"""
