"""What differs between the objects that run and those that will: slots levelled out, secrets never shown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

from include.chart.manifest import Manifest, mapping
from include.plan.models import Environment
from include.plan.slots import SLOTS

HIDDEN: Final = "(hidden)"
HIDDEN_CHANGED: Final = "(hidden, changed)"
_CONTEXT_LINES: Final = 2
_SECRET_NAME: Final = re.compile(r"passw|secret|token|credential|private|api_?key|dsn|auth", re.IGNORECASE)
# A line of a configuration file, and a URL with a password in it.
_SECRET_LINE: Final = re.compile(
    r"^(.*(?:passw|secret|token|credential|private|api_?key|dsn)[^:=\n]*[:=]\s*)(\S.*)$", re.I | re.M
)
_SECRET_URL: Final = re.compile(r"(\w://[^/\s:@]*:)([^@\s]+)(?=@)")

Place = tuple[str, ...]


@dataclass(frozen=True)
class ObjectChange:
    """One object that will not be as it is.

    :param diff: lines of a unified diff without its head; secrets are hidden
    """

    object: str
    source: str
    change: Literal["new", "changed", "removed"]
    diff: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """How many lines come and go."""
        return (
            sum(line.startswith("+") for line in self.diff),
            sum(line.startswith("-") for line in self.diff),
        )


def changes(
    environment: Environment, before: Sequence[Manifest], after: Sequence[Manifest]
) -> tuple[ObjectChange, ...]:
    """The objects that come, change or go, by name; hooks are none of the release's objects.

    What only tells the slots apart (their names in any text, checksums over what is compared anyway) is levelled
    out, so that what is left is what the release changes.
    """
    veil = _Veil()
    # Before comes first: a hidden value is called changed when it is not what was seen here.
    old = {key: (one, _text(one, environment, veil)) for key, one in _keyed(environment, before).items()}
    new = {key: (one, _text(one, environment, veil)) for key, one in _keyed(environment, after).items()}
    found = []
    for key in sorted({*old, *new}):
        was, will = old.get(key), new.get(key)
        if was and will and was[1] == will[1]:
            continue
        one = (will or was or _NOTHING)[0]
        kind: Literal["new", "changed", "removed"] = "changed" if was and will else "new" if will else "removed"
        lines = _diff(was[1] if was else "", will[1] if will else "")
        found.append(ObjectChange(_level(one.object, environment), one.source, kind, lines))
    return tuple(found)


_NOTHING: Final = (Manifest("", "", {}), "")


def _keyed(environment: Environment, manifests: Sequence[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    return {
        (one.kind, one.namespace or environment.namespace, _level(one.name, environment)): one
        for one in manifests
        if not one.hooks
    }


def _text(one: Manifest, environment: Environment, veil: _Veil) -> str:
    place = (one.kind, _level(one.name, environment))
    secret = [part for part in ("data", "stringData") if one.kind == "Secret" and part in one.document]
    document = {key: value for key, value in one.document.items() if key not in secret}
    shown = _shown(document, place, environment, veil, secret=False)
    for part in secret:
        held = mapping(one.document, part)
        shown[part] = {str(key): veil.hide((*place, part, str(key)), value) for key, value in held.items()}
    return yaml.safe_dump(shown, sort_keys=True, default_flow_style=False, allow_unicode=True, width=200)


def _shown(value: Any, place: Place, environment: Environment, veil: _Veil, *, secret: bool) -> Any:
    if isinstance(value, Mapping):
        named = secret or bool(_SECRET_NAME.search(str(value.get("name", ""))))
        return {
            _level(str(key), environment): _checksum(str(key))
            or _shown(
                inner,
                (*place, str(key)),
                environment,
                veil,
                # {name: DB_PASSWORD, value: x} and {DB_PASSWORD: x}; a reference to a Secret stays readable.
                secret=not isinstance(inner, Mapping | list)
                and (
                    (named and key == "value") or (place[-1:] == ("data",) and bool(_SECRET_NAME.search(str(key))))
                ),
            )
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [
            _shown(inner, (*place, _item(inner, number)), environment, veil, secret=False)
            for number, inner in enumerate(value)
        ]
    if secret:
        return veil.hide(place, value)
    return veil.veiled(place, _level(value, environment)) if isinstance(value, str) else value


def _item(value: Any, number: int) -> str:
    name = value.get("name") if isinstance(value, Mapping) else None
    return str(name or number)


def _checksum(key: str) -> str:
    return "(checksum)" if key.startswith("checksum/") else ""


def _level(text: str, environment: Environment) -> str:
    """The text with placeholders where it names a slot."""
    # The longer name first: that of an adopted Deployment may be the beginning of the other's.
    for name in sorted((environment.slot_release(slot) for slot in SLOTS), key=len, reverse=True):
        text = text.replace(name, "<release>")
    for slot in SLOTS:
        text = re.sub(rf"(?<![A-Za-z0-9]){slot}(?![A-Za-z0-9])", "<slot>", text)
    return text


def _diff(before: str, after: str) -> tuple[str, ...]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=_CONTEXT_LINES)
    return tuple(line for line in lines if not line.startswith(("---", "+++")))


class _Veil:
    """Remembers what was hidden where, so that a change can be told without a value."""

    def __init__(self) -> None:
        self._seen: dict[Place, Any] = {}

    def hide(self, place: Place, value: Any) -> str:
        return HIDDEN if self._seen.setdefault(place, value) == value else HIDDEN_CHANGED

    def veiled(self, place: Place, text: str) -> str:
        """The text without what looks like a credential in it."""

        def hide(found: re.Match[str]) -> str:
            return found[1] + self.hide((*place, found[1]), found[2])

        return _SECRET_LINE.sub(hide, _SECRET_URL.sub(hide, text))
