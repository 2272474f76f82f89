"""Whether what is restored equals its source: the product says so, and the SQL that ``pg_dump`` writes of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hypothesis import HealthCheck, Phase, given, settings

from benchmarks.database.data import connect, create, drop
from benchmarks.database.raw import APPLICATION, text_digest
from include.backup.copies import Workshop, make_copy
from include.backup.described import read_contents_of
from include.backup.dump import Wanted, find_backup, take_backup
from include.backup.manifest import folder_name
from include.database.connection import Database
from include.database.session import session
from tests.contract.generated_schemas import databases

# What a word in the statements shows to be in a database.
_WORDS: Final = {
    "enums": "CREATE TYPE",
    "partitions": "PARTITION OF",
    "identity_columns": "AS IDENTITY",
    "sequences": "CREATE SEQUENCE",
    "extensions": "CREATE EXTENSION",
    "quotes_in_names": '""',
}
KINDS: Final = (*_WORDS, "several_schemas", "large_objects")
"""The kinds of things that some of the databases have to have in them."""


@dataclass
class RoundTrips:
    """What became of all databases that were backed up and restored.

    :param having: how many had a kind of thing
    :param unequal: a sentence for each that did not come back as it was
    """

    made: int = 0
    having: Counter[str] = field(default_factory=Counter)
    unequal: list[str] = field(default_factory=list)

    @property
    def equal_share(self) -> float | None:
        """The share of databases that came back as they were; None when there was none."""
        return (self.made - len(self.unequal)) / self.made if self.made else None

    def add(self, statements: Sequence[str], difference: str) -> None:
        """One more.

        :param difference: empty when it came back as it was
        """
        self.made += 1
        self.having.update(kinds_of(statements))
        if difference:
            self.unequal.append(difference)


def kinds_of(statements: Sequence[str]) -> set[str]:
    """What a database that is made by these statements has in it."""
    text = "\n".join(statements)
    found = {kind for kind, word in _WORDS.items() if word in text}
    if text.count("CREATE SCHEMA") > 1:
        found.add("several_schemas")
    if "lo_from_bytea" in text and not text.endswith("generate_series(1, 0)"):
        found.add("large_objects")
    return found


def round_trips(source: Database, workshop: Workshop, count: int) -> RoundTrips:
    """Make up databases, always the same ones, and send each there and back.

    :param source: the database to make anew for each, on a server of the benchmark's own
    """
    trips = RoundTrips()
    with connect(source.named("postgres")) as connection:
        found = connection.execute("SELECT name FROM pg_available_extensions WHERE name <> 'plpgsql' ORDER BY 1")
        extensions = [name for (name,) in found]

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(statements=databases(extensions))
    def there_and_back(statements: list[str]) -> None:
        with connect(source.named("postgres")) as administration:
            create(administration, source.name)
        with connect(source) as connection:
            for statement in statements:
                connection.execute(statement.encode())
        backup = f"round-trip-{trips.made}"
        take_backup(source, workshop.store, workshop.clients, Wanted(backup))
        trips.add(statements, difference(source, workshop, backup))
        delete(workshop, backup)

    there_and_back()
    return trips


def difference(source: Database, workshop: Workshop, backup: str) -> str:
    """Restore a backup beside its source and compare them; how they differ, empty when they do not.

    The copy is gone afterwards.

    :raises DatabaseError, BackupError: it did not work at all
    """
    copy = source.named("round_trip")
    manifest = find_backup(workshop.store, backup)
    contents = read_contents_of(workshop.store, manifest)
    with session(source.named("postgres"), application=APPLICATION) as administration:
        try:
            copied = make_copy(administration, copy, workshop, manifest, contents, mark="benchmark")
            if copied.comparison.verdict != "EQUAL":
                return f"{backup}: {copied.comparison.verdict}: {'; '.join(copied.comparison.sentences)}"
            same = text_digest(source, workshop.clients) == text_digest(copy, workshop.clients)
            return "" if same else f"{backup} of {manifest.size} bytes: pg_dump writes them differently"
        finally:
            drop(administration, copy.name)


def delete(workshop: Workshop, backup: str) -> None:
    """Delete a backup with all its files."""
    folder = folder_name(backup)
    workshop.store.delete(folder, workshop.store.files(folder))
