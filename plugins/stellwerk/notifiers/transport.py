"""Slack and mail through the providers' hooks, as transports for ``include.messages.deliver``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from include.errors import MessageError

if TYPE_CHECKING:
    from slack_sdk.web import SlackResponse

    from include.messages.model import Message, Receipt
    from include.messages.slack import Reply

#: seconds one attempt to reach Slack may take
SLACK_TIMEOUT = 10


def transports(slack_conn_id: str, smtp_conn_id: str) -> Mapping[str, Callable[[Message], Receipt]]:
    """Return one sending function for each kind of message."""
    return {
        "slack": lambda message: send_slack(slack_conn_id, message),
        "mail": lambda message: send_mail(smtp_conn_id, message),
    }


def send_slack(conn_id: str, message: Message) -> Receipt:
    """Post to a channel.

    :raises MessageRefused: Slack will never take it like this
    :raises MessageUnanswered: Slack gave no answer, and may have taken it
    :raises MessageError: Slack did not take it
    """
    from http.client import HTTPException
    from urllib.error import URLError

    from airflow.providers.slack.hooks.slack import SlackHook
    from slack_sdk.errors import SlackApiError, SlackClientError
    from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler

    from include.messages.slack import post, unposted

    # The client's own handler asks again also where the answer was lost, and posts twice.
    unreached = ConnectionErrorRetryHandler(error_types=[URLError])
    hook = SlackHook(slack_conn_id=conn_id, timeout=SLACK_TIMEOUT, retry_handlers=[unreached])

    def call(arguments: Mapping[str, Any]) -> Reply:
        try:
            return _reply(hook.call("chat.postMessage", json=dict(arguments)))
        except SlackApiError as error:
            return _reply(error.response)

    try:
        return post(message, call)
    except (SlackClientError, AirflowException, OSError, HTTPException) as error:
        raise unposted(message, error) from error


def send_mail(conn_id: str, message: Message) -> Receipt:
    """Send to all recipients.

    :raises MessageRefused: the mail server will never take it like this
    :raises MessageUnanswered: the mail server gave no answer, and may have taken it
    :raises MessageError: the mail server did not take it
    """
    import smtplib

    from airflow.providers.smtp.hooks.smtp import SmtpHook

    from include.messages.mail import hand_over, undelivered

    try:
        with SmtpHook(smtp_conn_id=conn_id) as hook:
            # Connected, encrypted and authenticated as the connection says; the hook itself cannot invite anybody.
            client = hook._smtp_client  # noqa: SLF001
            if not isinstance(client, smtplib.SMTP):
                raise MessageError("the SMTP connection has no client", seen=type(client).__name__)
            return hand_over(client, message, datetime.now(UTC))
    except (smtplib.SMTPException, AirflowException, OSError) as error:
        raise undelivered(message, error) from error


def _reply(response: SlackResponse) -> Reply:
    from include.messages.slack import Reply

    body = response.data if isinstance(response.data, dict) else {}
    headers = {name.lower(): value for name, value in response.headers.items()}
    try:
        retry_after = float(headers["retry-after"])
    except (KeyError, ValueError):
        retry_after = None
    return Reply(int(response.status_code), body, retry_after)
