"""Which instance types may a deployment name?"""
