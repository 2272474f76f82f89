"""The Airflow variable that names where reports are kept."""

from __future__ import annotations

from typing import cast

from upath import UPath

#: Airflow variable with the object storage URL of the folder that takes the reports
REPORTS_VARIABLE = "stellwerk_reports"


def reports_folder() -> UPath | None:
    """Return the folder; None when the variable is not set."""
    from airflow.sdk import ObjectStoragePath, Variable

    folder = Variable.get(REPORTS_VARIABLE, default=None)
    return cast(UPath, ObjectStoragePath(folder)) if folder else None
