"""The only package that changes what the Services point at and who holds them."""

from include.clients.traffic.adopting import finish, give_back, take_over
from include.clients.traffic.services import acknowledge_back, claim, point_preview
from include.clients.traffic.switching import SwitchResult, switch

__all__ = [
    "SwitchResult", "acknowledge_back", "claim", "finish", "give_back", "point_preview", "switch", "take_over",
]  # fmt: skip
