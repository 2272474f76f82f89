"""The watch after a cutover: poll, evaluate, and when a trigger fires, switch back in the same breath (DESIGN, 6).

``config`` is what travels, ``world`` what a watch works with, ``loop`` the watch itself. A migrated schema is
watched by the same loop, which then only tells (``schema``).
"""

from include.watch.config import Progress, Result, WatchConfig, WatchOutcome
from include.watch.loop import watch
from include.watch.window import Page
from include.watch.world import World

__all__ = ["Page", "Progress", "Result", "WatchConfig", "WatchOutcome", "World", "watch"]
