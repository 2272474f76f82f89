"""Where the metrics of a slot come from: one adapter for each source, all behind :mod:`include.slo.source`."""

from include.clients.metrics.sources import open_sources

__all__ = ["open_sources"]
