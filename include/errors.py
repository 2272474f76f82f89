"""What can go wrong, said so that the reader knows what to do next.

Every error carries what was expected, what was seen and the remedy, and says whether a retry can help::

    StellwerkError
    ├── PlanError                      the YAML files or the parameters of a run (a retry cannot help)
    │   ├── InvalidPlan                a file that does not fit its schema
    │   ├── UnknownRelease
    │   ├── UnknownEnvironment
    │   └── PhaseTaken                 another run has begun this phase of the release
    ├── ApprovalError                  the ledger holds no valid Go for what is about to happen
    │   ├── ApprovalMissing
    │   └── ApprovalRefused            a No-Go, or silence until the deadline
    │       └── AnswerIncomplete       a yes without what makes it count: it is asked for again
    ├── ChartError                     helm cannot render or install the chart
    │   ├── ChartUnreadable            no chart there, a truncated archive, files that cannot be read
    │   ├── ChartDependencyMissing     a dependency of Chart.yaml is not in charts/
    │   ├── ChartValueMissing          a template uses a value that nobody sets
    │   ├── ChartValuesInvalid         values that are no mapping, or that the chart's schema refuses
    │   └── ChartKubeVersion           the chart is not made for this cluster's Kubernetes
    ├── PreflightFailed                the chart or the account cannot be released like this: all findings in one
    ├── RegistryError                  where images come from
    │   ├── RegistryUnreachable        no answer, or none that can be used (a retry can help)
    │   ├── RegistryRefused            another registry's image, or no right to look
    │   └── TagMissing
    ├── HelmError                      helm failed in another way
    │   ├── HelmUnusable               binary missing or of an unsupported version
    │   ├── HelmReleaseMissing         no Helm release of that name
    │   ├── HelmPending                another operation holds the release (retry after recovery)
    │   └── HelmTimeout
    ├── ClusterError
    │   ├── KubeconfigUnusable         no kubeconfig, or one without usable credentials
    │   ├── ClusterUnreachable         no answer, or none that can be used (a retry can help)
    │   ├── ClusterRefused             401, 403, 404, 409, 422 … with the server's reason
    │   └── PatchRefused               a guarded patch met a world that had changed
    ├── TrafficError                   the traffic Service and its slots
    │   ├── TrafficServiceMissing
    │   ├── UnknownSelector            the selector names neither slot
    │   ├── ReleaseFenced              the Service belongs to another release by now
    │   ├── NotEnoughEndpoints
    │   ├── AdoptionRefused            what is installed cannot be taken over (or given back) safely
    │   ├── RollbackRefused            nothing to roll back, or no such option
    │   └── VerificationFailed         a smoke check, a health endpoint, an address, the final state
    │       └── FailsOnNewSchema       the running version, after a migration: humans decide, no retry does
    ├── LeaseError                     whose turn it is in an environment
    │   ├── EnvironmentHeld            another release holds it: who, since when, until when
    │   └── LeaseLost                  it was taken over from this release, or not renewed in time
    ├── SlotNotReady                   pods of the idle slot do not become ready
    │   └── ImageMissing               … because their image cannot be had
    ├── WatchError
    │   ├── WatchAsleep                nobody would watch: the traffic is not moved (a retry can help)
    │   ├── NotCutOver                 there is nothing to watch: the cutover has moved nothing
    │   ├── RolledBack                 the watch ended with the old version in traffic again
    │   ├── RollbackBlocked            a rollback was due and could not be done: a human must act now
    │   └── WatchHeld                  the window ended without proof of health
    ├── MetricsError                   metrics cannot be read
    │   ├── MetricsUnreachable         no answer, too slow, 5xx (a retry can help)
    │   ├── MetricsRefused             wrong credentials, a query that the source does not understand
    │   └── MetricsUnusable            an answer that is none: empty, not a number, too many series, HTML
    ├── LedgerError
    │   ├── LedgerUnavailable          (a retry can help)
    │   ├── LedgerBroken               the chain does not verify
    │   └── InvalidEntry               what was to be recorded cannot be, or its key means something else
    ├── MessageError                   Slack or mail refused a message (a retry can help)
    │   ├── MessageBusy                another process is sending it
    │   ├── MessageIncomplete          the mail server has put some recipients off
    │   ├── MessageUnanswered          nobody knows whether it was taken (a retry waits, and says so)
    │   ├── MessageRefused             the channel, the credentials or the recipients are wrong
    │   └── MessageGivenUp             not delivered long after its deadline
    ├── DatabaseError                  the application's database and PostgreSQL's client programs
    │   ├── DatabaseUnreachable        no answer, or the connection broke (a retry can help)
    │   ├── DatabaseRefused            wrong password, no such database, a missing privilege
    │   ├── DatabaseBusy               somebody else's lock or session is in the way (a retry can help)
    │   ├── ClientUnusable             pg_dump or pg_restore is missing, or older than the server
    │   └── ClientFailed               one of them ended with an error of another kind
    │       └── ClientHindered         … or was ended, or lacked room (a retry can help)
    ├── MigrationError                 the application's schema and its Alembic tree
    │   ├── TreeUnusable               the tree's interpreter does not run, or gives no usable answer
    │   ├── MigrationRefused           what was asked for cannot be done safely; nothing was touched
    │   │   ├── WrongDatabase          not the database that was backed up and looked at
    │   │   └── LossNotConfirmed       going back destroys data, and nobody has confirmed just that
    │   ├── MigrationBusy              another migration has the database (a retry can help)
    │   ├── MigrationBlocked           locks were not to be had; who holds them is named (a retry can help)
    │   ├── MigrationInterrupted       its process was stopped; the state is declared (a retry can help)
    │   ├── MigrationFailed            a statement or the tree failed, or took too long; the state is declared
    │   └── SchemaDiffers              it ran, and the result is not the expected one
    ├── BackupError                    backups of the application's database
    │   ├── BackupMissing              there is no backup of that id
    │   ├── BackupBusy                 another process is at this very backup (a retry can help)
    │   ├── BackupStoreFailed          where backups are kept refuses, or is full (a retry can help)
    │   ├── SpoolFull                  the local folder of the parallel format would outgrow its bound
    │   ├── ArchiveUnusable            empty, truncated, corrupt, or no archive at all
    │   ├── ArchiveForeign             of another database, or of another version of the server
    │   └── BackupDiffers              what was read or restored from it is not what the database had
    ├── RestoreError                   bringing a backup back
    │   ├── RestoreRefused             it cannot succeed; nothing was touched
    │   ├── RestoreUnconfirmed         nobody has confirmed what would be lost
    │   └── RestoreBusy                another process is restoring this database (a retry can help)
    ├── RehearsalError                 what a release is tried with in staging
    │   ├── LoadNotMeasured            the load test did not run, or showed too little to be judged
    │   ├── LoadTooSlow                it ran, and missed a threshold of the plan
    │   └── NotAccepted                key users found what blocks the release, or did not test it
    ├── EvidenceError                  a measure contradicts itself, or is of something else; no file of it
    ├── ReportError                    a report cannot be written where reports are kept (a retry can help)
    └── SandboxError                   the embedded environment
        ├── ImageNotFound              no image of that name, tag or digest in the image store
        └── ProgramMissing             a pinned program cannot be built or found
"""

from __future__ import annotations

from typing import ClassVar


class StellwerkError(Exception):
    """Something is not as it has to be.

    :param what: the fact in one clause, for example ``"traffic Service valeo-erp not found"``
    :param expected: what should have been the case
    :param seen: what was observed instead
    :param remedy: what the human should do next
    """

    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, expected: str = "", seen: str = "", remedy: str = "") -> None:
        super().__init__(what, expected, seen, remedy)
        self.what = what
        self.expected = expected
        self.seen = seen
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [self.what]
        if self.expected:
            parts.append(f"expected: {self.expected}")
        if self.seen:
            parts.append(f"seen: {self.seen}")
        if self.remedy:
            parts.append(f"do: {self.remedy}")
        return "; ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only fields, those of subclasses too, survive pickling between a worker and its supervisor.
        return (_rebuild, (type(self), self.what, self.expected, self.seen, self.remedy), self.__dict__)


def _rebuild(kind: type[StellwerkError], what: str, expected: str, seen: str, remedy: str) -> StellwerkError:
    return kind(what, expected=expected, seen=seen, remedy=remedy)


class PlanError(StellwerkError):
    """The plan's files or the parameters of a run are wrong."""


class InvalidPlan(PlanError):
    """A release or environment file does not fit its schema; whoever saves it in two steps may be in between."""

    retryable = True


class UnknownRelease(PlanError):
    """No ``releases/<version>.yaml`` describes the release that was named."""


class UnknownEnvironment(PlanError):
    """No ``environments/<name>.yaml`` describes the environment that was named."""


class PhaseTaken(PlanError):
    """Another run has begun this phase of the release; it is not done twice."""


class ApprovalError(StellwerkError):
    """The ledger holds no valid Go for what is about to happen."""


class ApprovalMissing(ApprovalError):
    """Nobody entitled has decided yet, or what was approved has changed since."""


class ApprovalRefused(ApprovalError):
    """A No-Go was given, or nobody answered until the deadline."""


class AnswerIncomplete(ApprovalRefused):
    """Somebody who may has answered without what makes the answer count; they can be asked again."""


class ChartError(StellwerkError):
    """Helm cannot render or install the chart."""


class ChartUnreadable(ChartError):
    """There is no chart, its archive is truncated, or a file of it cannot be read."""


class ChartDependencyMissing(ChartError):
    """Chart.yaml names a dependency that charts/ does not hold."""


class ChartValueMissing(ChartError):
    """A template uses a value that nobody sets."""


class ChartValuesInvalid(ChartError):
    """The values are no mapping, or the chart's schema refuses them."""


class ChartKubeVersion(ChartError):
    """The chart says that it is not made for this version of Kubernetes."""


class PreflightFailed(StellwerkError):
    """Something was found that cannot be released like this; nothing was written to the cluster."""


class RegistryError(StellwerkError):
    """The registry does not say what an image's tag means."""


class RegistryUnreachable(RegistryError):
    """No answer, or none that can be used."""

    retryable = True


class RegistryRefused(RegistryError):
    """The image is another registry's, or this one does not let us look."""


class TagMissing(RegistryError):
    """The registry has no such image."""


class HelmError(StellwerkError):
    """Helm ended with an error that is not the chart's."""


class HelmUnusable(HelmError):
    """The helm binary is missing, or of a version Stellwerk does not know."""


class HelmReleaseMissing(HelmError):
    """There is no Helm release of that name in the namespace."""


class HelmPending(HelmError):
    """Another operation holds the Helm release, or a killed one left it pending."""

    retryable = True


class HelmTimeout(HelmError):
    """Helm waited in vain for the release's objects to become ready."""

    retryable = True


class ClusterError(StellwerkError):
    """The Kubernetes API."""


class KubeconfigUnusable(ClusterError):
    """There is no kubeconfig, or it does not lead to a cluster and credentials."""


class ClusterUnreachable(ClusterError):
    """The API server gave no answer, or none that can be used."""

    retryable = True


class ClusterRefused(ClusterError):
    """The API server understood and refused.

    :param status: HTTP status code, 0 when unknown
    """

    def __init__(
        self, what: str, *, expected: str = "", seen: str = "", remedy: str = "", status: int = 0
    ) -> None:
        super().__init__(what, expected=expected, seen=seen, remedy=remedy)
        self.status = status


class PatchRefused(ClusterError):
    """A guarded patch met a world that had changed: observe again, then decide again."""

    retryable = True


class TrafficError(StellwerkError):
    """The traffic Service and what stands behind it."""


class TrafficServiceMissing(TrafficError):
    """The environment's traffic Service does not exist."""


class UnknownSelector(TrafficError):
    """The traffic Service's selector names neither slot."""


class ReleaseFenced(TrafficError):
    """The traffic Service belongs to another release by now; this run must not touch it."""


class NotEnoughEndpoints(TrafficError):
    """The slot has too few ready endpoints to take the traffic (DESIGN, invariants 2 and 3)."""

    retryable = True


class AdoptionRefused(TrafficError):
    """What is installed cannot be taken over, or given back, without a risk for the traffic."""


class RollbackRefused(TrafficError):
    """There is nothing to roll back, or no such option; nobody is worse off than before."""


class VerificationFailed(TrafficError):
    """A health endpoint, a smoke check or the final state is not as it has to be."""

    retryable = True


class FailsOnNewSchema(VerificationFailed):
    """The running version fails on a schema that was migrated under it: no retry helps, humans decide at once."""

    retryable = False


class LeaseError(StellwerkError):
    """Whose turn it is in an environment (DESIGN, invariant 8)."""


class EnvironmentHeld(LeaseError):
    """Another release holds the environment."""


class LeaseLost(LeaseError):
    """The environment was taken over from this release: nothing of it goes forward any more."""


class SlotNotReady(StellwerkError):
    """The pods of the idle slot do not become ready."""


class ImageMissing(SlotNotReady):
    """The image cannot be had under the name the release gives."""


class WatchError(StellwerkError):
    """The watch after cutover did not pass."""


class WatchAsleep(WatchError):
    """Nobody would watch: the traffic is not moved."""

    retryable = True


class NotCutOver(WatchError):
    """There is nothing to watch: the cutover has ended and has moved nothing."""


class RolledBack(WatchError):
    """Traffic is on the old slot again."""


class RollbackBlocked(WatchError):
    """A rollback was due and could not be done: a human must act now."""


class WatchHeld(WatchError):
    """The window ended without proof of health; traffic stays where it is until a human decides."""


class MetricsError(StellwerkError):
    """Metrics cannot be read; no data is never a value."""


class MetricsUnreachable(MetricsError):
    """No answer, none in time, or a server error."""

    retryable = True


class MetricsRefused(MetricsError):
    """Wrong credentials, or a query that the source does not understand."""


class MetricsUnusable(MetricsError):
    """An answer that holds no usable value."""

    retryable = True


class LedgerError(StellwerkError):
    """The release's record."""


class LedgerUnavailable(LedgerError):
    """The ledger's database gives no answer."""

    retryable = True


class LedgerBroken(LedgerError):
    """An entry of the ledger was changed, removed or reordered."""


class InvalidEntry(LedgerError):
    """What was to be recorded is not recordable, or its key already stands for something else."""


class MessageError(StellwerkError):
    """Slack or the mail server did not take a message."""

    retryable = True


class MessageBusy(MessageError):
    """Another process is sending this very message."""


class MessageRefused(MessageError):
    """It will be refused again however often it is tried: channel, credentials or recipients are wrong."""

    retryable = False


class MessageIncomplete(MessageError):
    """Some recipients have it; a later try tells those whom the mail server has put off, and only those."""


class MessageUnanswered(MessageError):
    """No answer came, and the message may have been taken all the same: sending it again may tell it twice.

    :ivar wait_seconds: so long it is not sent again
    :ivar recorded: the ledger knows of the doubt, so that whoever tries again waits by itself
    """

    wait_seconds: float = 0.0
    recorded: bool = False


class MessageGivenUp(MessageError):
    """A message was not delivered, long after its deadline; nobody tries any more."""

    retryable = False


class DatabaseError(StellwerkError):
    """The application's database, or the client programs that work with it."""


class DatabaseUnreachable(DatabaseError):
    """The server gives no answer, or the connection to it broke."""

    retryable = True


class DatabaseRefused(DatabaseError):
    """The server answers and does not let this role do what is needed."""


class DatabaseBusy(DatabaseError):
    """A lock or a session of somebody else is in the way."""

    retryable = True


class ClientUnusable(DatabaseError):
    """A client program of PostgreSQL is missing, or too old for the server."""


class ClientFailed(DatabaseError):
    """A client program of PostgreSQL ended with an error."""


class ClientHindered(ClientFailed):
    """It was ended, or lacked room or memory, or does not say why: that tells nothing about what it was given."""

    retryable = True


class MigrationError(StellwerkError):
    """The application's schema and its Alembic tree.

    :param state: the declared state of the database, for records; "" when nothing was touched
    """

    def __init__(
        self, what: str, *, expected: str = "", seen: str = "", remedy: str = "", state: str = ""
    ) -> None:
        super().__init__(what, expected=expected, seen=seen, remedy=remedy)
        self.state = state

    def __str__(self) -> str:
        said = super().__str__()
        return f"{said}; the database: {self.state}" if self.state else said


class TreeUnusable(MigrationError):
    """The tree's interpreter does not run, has no Alembic, or gives no usable answer."""


class MigrationRefused(MigrationError):
    """What was asked for cannot be done safely; nothing was touched."""


class WrongDatabase(MigrationRefused):
    """A connection leads to another database than the one that was backed up and looked at."""


class LossNotConfirmed(MigrationRefused):
    """A schema goes back, and nobody has confirmed exactly what that destroys."""


class MigrationBusy(MigrationError):
    """Another migration has the database at this moment."""

    retryable = True


class MigrationBlocked(MigrationError):
    """Locks were not to be had in time, in spite of retries."""

    retryable = True


class MigrationInterrupted(MigrationError):
    """The migration's process or its connection was ended; ``state`` says where the database stands."""

    retryable = True


class MigrationFailed(MigrationError):
    """A statement or the tree itself failed, or took too long; ``state`` says where the database stands."""


class SchemaDiffers(MigrationError):
    """The migration ran, and the schema or the revision set is not the expected one."""


class BackupError(StellwerkError):
    """Backups of the application's database."""


class BackupMissing(BackupError):
    """There is no backup of that id, or only what a killed attempt has left."""


class BackupBusy(BackupError):
    """Another process is making or reading this very backup."""

    retryable = True


class BackupStoreFailed(BackupError):
    """The folder or object store of the backups refuses, is full, or gives no answer."""

    retryable = True


class SpoolFull(BackupError):
    """The local folder that the parallel format needs would become larger than it may."""


class ArchiveUnusable(BackupError):
    """The archive is empty, truncated, corrupt, or no archive of ``pg_dump`` at all."""


class ArchiveForeign(BackupError):
    """The archive is of another database, or of another major version of the server, than it has to be."""


class BackupDiffers(BackupError):
    """What was read or restored from the backup is not what the database had."""


class RestoreError(StellwerkError):
    """A backup is to be brought back."""


class RestoreRefused(RestoreError):
    """The restore cannot succeed as things are; nothing was touched."""


class RestoreUnconfirmed(RestoreError):
    """No human has confirmed the loss that this restore means."""


class RestoreBusy(RestoreError):
    """Another process is restoring this database."""

    retryable = True


class RehearsalError(StellwerkError):
    """A release did not stand its trial in staging."""


class LoadNotMeasured(RehearsalError):
    """The load test did not run, or showed too little to be judged: that is no pass."""


class LoadTooSlow(RehearsalError):
    """The load test missed a threshold of the plan."""


class NotAccepted(RehearsalError):
    """Key users found something that blocks the release, or a test that is needed is missing."""


class EvidenceError(StellwerkError):
    """A measure contradicts itself, is of something else, or a file of evidence cannot be read."""


class ReportError(StellwerkError):
    """The folder for reports did not take one."""

    retryable = True


class SandboxError(StellwerkError):
    """The embedded environment."""


class ImageNotFound(SandboxError, LookupError):
    """The image store holds no image of that name with that tag or digest."""


class ProgramMissing(SandboxError):
    """A pinned program can neither be found nor built."""
