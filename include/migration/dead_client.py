"""Settings by which a server notices that a client is gone, so that its backend ends with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import psycopg

log = logging.getLogger(__name__)

# PostgreSQL manual, "Connections and Authentication". Not every server takes all of them: the first came with 14,
# and not on every platform. Milliseconds; seconds; seconds; a number.
SETTINGS: Final[Mapping[str, str]] = {
    "client_connection_check_interval": "1000",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


def accepted(opened: psycopg.Connection[Any]) -> dict[str, str]:
    """Those settings that this server takes; they are set on this connection, too."""
    taken = {}
    for name, value in SETTINGS.items():
        try:
            opened.execute("SELECT set_config(%s, %s, false)", (name, value))
        except psycopg.DatabaseError as error:
            log.warning("the server does not take %s: %s", name, str(error).splitlines()[0])
        else:
            taken[name] = value
    return taken
