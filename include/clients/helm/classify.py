"""What a failed helm meant, told from its words: every failure has exit code 1.

Helm 4 prints warnings on stderr before the error, and both versions wrap errors in errors, so the text is searched
without regard to case and the more telling phrase wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from include.errors import (
    ChartDependencyMissing,
    ChartError,
    ChartKubeVersion,
    ChartUnreadable,
    ChartValueMissing,
    ChartValuesInvalid,
    ClusterRefused,
    ClusterUnreachable,
    HelmError,
    HelmPending,
    HelmReleaseMissing,
    HelmTimeout,
    StellwerkError,
)

WITHHELD: Final = "helm's words, which are not shown: the values that they may repeat could not be read"

_LONGEST_TEXT: Final = 800
_WARNING: Final = re.compile(
    r"^\s*(level=(WARN|INFO|DEBUG)|time=\S+ level=(WARN|INFO|DEBUG)|WARNING:|[IW]\d{4} )", re.I
)
_SECRET_KEY: Final = re.compile(r"passw|secret|token|credential|private|api_?key|dsn|url|uri", re.IGNORECASE)

_INSTALL_AGAIN: Final = (
    "recover the Helm release (uninstall it, or roll back to its newest good revision), then retry"
)
_SEE_CHART: Final = "correct the chart or its values; `helm template` with the same values shows the error"
_SEE_PODS: Final = "look at the release's pods and their events: something does not become ready"
_SEE_SERVER: Final = "check the kubeconfig's server address and that the API server is up"
_SEE_RIGHTS: Final = "give the account the rights that deploy/rbac.yaml lists"

Maker = Callable[..., StellwerkError]


def _refused(status: int) -> Maker:
    def make(what: str, **fields: str) -> ClusterRefused:
        return ClusterRefused(what, status=status, **fields)

    return make


# In the order in which they decide: (phrases of which one suffices, what it is, the remedy).
_RULES: Final[tuple[tuple[tuple[str, ...], Maker, str], ...]] = (
    (
        # helm says "cluster unreachable" before these words
        ("asked for the client to provide credentials", "must be logged in to the server", "unauthorized"),
        _refused(401),
        "renew the credentials of the Kubernetes connection",
    ),
    (
        (
            "cluster unreachable",
            "connection refused",
            "no such host",
            "i/o timeout",
            "tls handshake timeout",
            "server is currently unable to handle the request",
            "connection reset by peer",
            "too many requests",
            "etcdserver: ",
        ),
        ClusterUnreachable,
        _SEE_SERVER,
    ),
    (
        (
            "another operation (install/upgrade/rollback) is in progress",
            "release: already exists",
            "cannot re-use a name that is still in use",
            "cannot reuse a name that is still in use",
            "has no deployed releases",
        ),
        HelmPending,
        _INSTALL_AGAIN,
    ),
    (
        ("release: not found", "release not loaded", "release has no "),
        HelmReleaseMissing,
        "check the release's name, revision and namespace",
    ),
    (("context deadline exceeded", "timed out waiting", "would exceed context deadline"), HelmTimeout, _SEE_PODS),
    (("is forbidden:", "forbidden: user"), _refused(403), _SEE_RIGHTS),
    (
        ("conflict occurred while applying", "conflict with", "the object has been modified"),
        _refused(409),
        "somebody else owns or has just changed that field; settle who does, then retry",
    ),
    (
        ("missing in charts/ directory",),
        ChartDependencyMissing,
        "put the dependencies into the chart (helm dependency build) before it is released",
    ),
    (
        ("chart requires kubeversion",),
        ChartKubeVersion,
        "release a chart made for this cluster's Kubernetes, or upgrade the cluster first",
    ),
    (
        (
            "unexpected eof",
            "gzip: ",
            "does not appear to be a gzipped archive",
            "unable to load chart archive",
            "error unpacking subchart",
            "unable to detect chart at",
            "non-absolute urls should be in form of",
            "path \"/",
            "cannot load chart.yaml",
            "chart.yaml file is missing",
            "chart metadata is missing",
        ),
        ChartUnreadable,
        "correct `chart` of the environment, or package the chart and its dependencies again",
    ),
    (
        ("cannot load values.yaml", "failed to parse -:", "don't meet the specifications of the schema"),
        ChartValuesInvalid,
        "correct the values of the environment, or the chart's values.yaml: a mapping that fits its schema",
    ),
    (
        (
            "nil pointer evaluating",
            "can't evaluate field",
            "invalid value; expected",
            "wrong type for value; expected",
            "map has no entry for key",
        ),
        ChartValueMissing,
        "set the value that the template uses in `values` of the environment, or give it a default in the chart",
    ),
    (
        (
            "execution error at",
            "parse error",
            "failed to load",
            "error calling",
            "function \"",
            "validation: ",
            "unable to build kubernetes objects",
            "error validating",
            "unknown field",
            "no matches for kind",
            "failed to create typed patch object",
            "invalid ownership metadata",
            "cannot be imported into the current release",
            "no such file or directory",
            "is invalid: ",
            "cannot be handled as a",
        ),
        ChartError,
        _SEE_CHART,
    ),
    (("admission webhook", "denied the request"), _refused(422), "satisfy the policy the cluster names"),
    ((" not found",), _refused(404), "check that the namespace and what the chart refers to exist"),
)  # fmt: skip


def classify(returncode: int, stdout: str, stderr: str, *, action: str) -> StellwerkError | None:
    """The error a finished helm stands for; None when it succeeded.

    :param action: what it was to do, for example ``"helm upgrade of valeo-erp-production-green"``
    """
    if returncode == 0:
        return None
    if returncode < 0:
        return HelmPending(
            f"{action} was killed by signal {-returncode}",
            expected="an end of its own",
            seen=error_text(stdout, stderr),
            remedy=_INSTALL_AGAIN,
        )
    seen = error_text(stdout, stderr)
    text = seen.lower()
    # First of all: a chart's own message (`fail`) may contain any other phrase.
    if "execution error at" in text:
        return ChartError(f"{action} failed", seen=seen, remedy=_SEE_CHART)
    for phrases, kind, remedy in _RULES:
        if any(phrase in text for phrase in phrases):
            return kind(f"{action} failed", seen=seen, remedy=remedy)
    return HelmError(f"{action} failed", seen=seen, remedy="read helm's words")


def reworded(error: StellwerkError, seen: str) -> StellwerkError:
    """The same failure, told in other words: what it is, is told from helm's own."""
    error.seen = seen
    error.args = (error.what, error.expected, error.seen, error.remedy)
    return error


def error_text(stdout: str, stderr: str) -> str:
    """Helm's own error without the warnings around it."""
    lines = [line for line in stderr.splitlines() if line.strip() and not _WARNING.match(line)]
    start = next((number for number, line in enumerate(lines) if line.startswith("Error:")), 0)
    text = " ".join(" ".join(lines[start:]).split()) or " ".join(stdout.split()[-60:]) or "no words"
    return text[:_LONGEST_TEXT] + "…" if len(text) > _LONGEST_TEXT else text


def redact(text: str, values: Mapping[str, Any]) -> str:
    """``text`` without what the chart's values hold under names like ``password`` or ``databaseUrl``."""
    for secret in sorted(_secrets(values), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(values: Any, *, inside: bool = False) -> set[str]:
    if isinstance(values, Mapping):
        found: set[str] = set()
        for key, value in values.items():
            found |= _secrets(value, inside=inside or bool(_SECRET_KEY.search(str(key))))
        return found
    if isinstance(values, list | tuple):
        return {secret for value in values for secret in _secrets(value, inside=inside)}
    return {values} if inside and isinstance(values, str) and len(values) >= 4 else set()
