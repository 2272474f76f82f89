"""The Kubernetes API, as far as a release needs it."""

from include.clients.kubernetes.client import Cluster
from include.clients.kubernetes.glance import Glance, fresh
from include.clients.kubernetes.parse import ClusterEvent

__all__ = ["Cluster", "ClusterEvent", "Glance", "fresh"]
