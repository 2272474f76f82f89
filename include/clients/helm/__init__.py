"""Helm, driven as a program: versions 3 and 4."""

from include.clients.helm.client import Helm
from include.clients.helm.version import Capabilities, HelmVersion

__all__ = ["Capabilities", "Helm", "HelmVersion"]
