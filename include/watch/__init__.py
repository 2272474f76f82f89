"""The watch after a cutover: poll, evaluate, and when a trigger fires, switch back in the same breath (DESIGN, 6).

``config`` is what travels, ``world`` what a watch works with, ``loop`` the watch itself.
"""

from include.watch.config import Page, Progress, Result, WatchConfig, WatchOutcome
from include.watch.loop import watch
from include.watch.world import World

__all__ = ["Page", "Progress", "Result", "WatchConfig", "WatchOutcome", "World", "watch"]
