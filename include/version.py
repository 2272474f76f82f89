"""Stellwerk's own version: a part of every fingerprint, since a changed Stellwerk may act differently."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
