"""Slack and mail through the providers' hooks, as transports for ``include.messages.deliver``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException

from include.errors import MessageError

if TYPE_CHECKING:
    from include.messages.model import Message

log = logging.getLogger(__name__)

#: seconds one attempt to reach Slack may take
SLACK_TIMEOUT = 10


def transports(slack_conn_id: str, smtp_conn_id: str) -> Mapping[str, Callable[[Message], None]]:
    """Return one sending function for each kind of message."""
    return {
        "slack": lambda message: send_slack(slack_conn_id, message),
        "mail": lambda message: send_mail(smtp_conn_id, message),
    }


def send_slack(conn_id: str, message: Message) -> None:
    """Post to a channel.

    :raises MessageError: Slack did not take it
    """
    from airflow.providers.slack.hooks.slack import SlackHook
    from slack_sdk.errors import SlackClientError

    try:
        hook = SlackHook(slack_conn_id=conn_id, timeout=SLACK_TIMEOUT)
        hook.call("chat.postMessage", json={"channel": message.channel, "text": message.text})
    except (SlackClientError, AirflowException, OSError) as error:
        raise _undelivered("Slack", message, error) from error


def send_mail(conn_id: str, message: Message) -> None:
    """Send to all recipients.

    :raises MessageError: the mail server did not take it
    """
    import smtplib

    from airflow.providers.smtp.hooks.smtp import SmtpHook

    from include.messages.mail import mail_of

    mail = mail_of(message, datetime.now(UTC))
    try:
        with SmtpHook(smtp_conn_id=conn_id) as hook:
            # Connected, encrypted and authenticated as the connection says; the hook itself cannot invite anybody.
            client = hook._smtp_client  # noqa: SLF001
            if not isinstance(client, smtplib.SMTP):
                raise MessageError("the SMTP connection has no client", seen=type(client).__name__)
            refused = client.send_message(mail, message.sender, list(message.recipients))
        for address, reply in refused.items():
            log.warning("the mail server refused %s: %s", address, reply)
    except (smtplib.SMTPException, AirflowException, OSError) as error:
        raise _undelivered("the mail server", message, error) from error


def _undelivered(who: str, message: Message, error: Exception) -> MessageError:
    return MessageError(
        f"{who} did not take {message.key}",
        expected="the message accepted",
        seen=f"{type(error).__name__}: {error}",
        remedy="tell people by other means; the task tries again by itself",
    )
