"""Do replicas run as Pods as they do on every backend, on a real cluster and on its double?"""
