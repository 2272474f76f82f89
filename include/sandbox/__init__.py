"""The embedded environment: a real Kubernetes without containers and what stands around it.

Only the tests and the demo import it.
"""
