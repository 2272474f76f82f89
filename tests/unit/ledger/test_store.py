from __future__ import annotations

import socket
import time

import pytest

from include.errors import LedgerError, LedgerUnavailable
from include.ledger.entry import NewEntry
from include.ledger.store import Ledger, engine_url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_spelling_of_the_url_is_understood(scheme: str) -> None:
    url = engine_url(f"{scheme}://anna:p%40ss@db:5433/stellwerk?__extra__=%7B%7D&sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "anna",
        "p@ss",
        "db",
        5433,
        "stellwerk",
    )
    assert dict(url.query) == {"sslmode": "require"}


@pytest.mark.parametrize("url", ["", "no url with secret", "sqlite:///secret", "mysql://u:secret@h/d"])
def test_another_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger(url)
    assert "secret" not in str(caught.value)


def test_no_server_is_unavailable_and_the_password_stays_out_of_the_error() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(LedgerUnavailable) as caught:
        Ledger(f"postgresql://role:s3cret@127.0.0.1:{port}/stellwerk").head()
    assert caught.value.retryable
    assert "s3cret" not in str(caught.value)
    assert f"127.0.0.1:{port}/stellwerk" in str(caught.value)


def test_a_server_that_hangs_is_unavailable_within_the_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        begun = time.monotonic()
        with pytest.raises(LedgerUnavailable):
            Ledger(f"postgresql://r:p@127.0.0.1:{listener.getsockname()[1]}/s", timeout_seconds=2).append(
                NewEntry("k", "r", "e", "i", "a")
            )
        assert time.monotonic() - begun < 6
