"""The commands of docs/database.md, pasted by whoever has a backup and nothing else, bring the database back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from include.sandbox.postgres import SUPERUSER, Postgres
from include.sandbox.postgres_binaries import installed_postgres
from include.steps.database.backup import prove, take
from tests.contract.migrations import OWNER
from tests.contract.places import NEW, OLD, Place, demo_place

PAGE = (Path(__file__).parents[2] / "docs" / "database.md").read_text()
EXPORTS, WHOLE, RESTORE, EXCHANGE = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
RIGHTS, LOCK = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
[POLICY] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("kind", ["custom", "directory"])
def test_a_backup_is_brought_back_by_hand(server: Postgres, tmp_path: Path, kind: str) -> None:
    spool = {"spool": str(tmp_path / "spool"), "spool_bytes": 10**8} if kind == "directory" else {}
    demo = demo_place(server, tmp_path, backup={"format": kind, **spool})
    backup = take(demo.run, demo.site, demo.ledger, "safety")["backup"]
    prove(demo.run, demo.site, demo.ledger, "safety")
    before = demo.databases()
    demo.erp.do("DELETE FROM public.orders WHERE id <= 4")
    demo.erp.do("UPDATE public.alembic_version SET version_num = '0003_delivery_date'")

    paste = _pasting(demo, tmp_path, backup)
    names = set(re.findall(r"(\w+)=", EXPORTS))
    assert names == {"BACKUP", "DB", "PGHOST", "PGPORT", "PGUSER"}, "these the test sets itself"
    shown = paste(WHOLE)
    assert ": OK" in shown
    assert "public.orders': 10" in shown
    assert "VERIFIED restore" in shown
    assert "0002_orders" in paste(RESTORE)
    assert (demo.rows("orders"), demo.erp.revisions()) == (6, NEW), "users notice nothing of it"
    with psycopg.connect(**demo.erp.database.parameters()) as user:
        paste(EXCHANGE)
        with pytest.raises(psycopg.OperationalError):
            user.execute("SELECT 1")
    assert (demo.rows("orders"), demo.erp.revisions()) == (10, OLD)
    [kept] = demo.databases() - before
    assert kept.startswith("erp_damaged_")
    access = "SELECT has_database_privilege('stellwerk', 'erp', 'CONNECT')"
    assert demo.erp.ask(access) == [(False,)]


def _pasting(demo: Place, folder: Path, backup: str) -> Any:
    database, passwords = demo.erp.database, folder / "pgpass"
    passwords.touch(mode=0o600)
    passwords.write_text(f"*:*:*:{database.user}:{database.password}\n")
    environment = {
        "PATH": f"{installed_postgres() / 'bin'}:{Path(sys.executable).parent}:{os.defpath}",
        "BACKUP": str(folder / "backups" / backup),
        "DB": database.name,
        "PGHOST": database.host,
        "PGPORT": str(database.port),
        "PGUSER": database.user,
        "PGPASSFILE": str(passwords),
    }

    def paste(block: str) -> str:
        argv = ["/bin/bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return paste


def test_the_statements_of_the_page_run(server: Postgres, tmp_path: Path) -> None:
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        connection.execute(RIGHTS.encode())
        row = connection.execute("SELECT rolcreatedb FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchone()
        assert row == (True,)
    demo = demo_place(server, tmp_path)
    with psycopg.connect(**demo.erp.database.parameters()) as connection:
        connection.execute(LOCK.replace("pg_sleep(40)", "pg_sleep(0)").encode())


def test_the_policy_of_the_page_is_one(server: Postgres, tmp_path: Path) -> None:
    demo = demo_place(server, tmp_path, **yaml.safe_load(POLICY)["database"])
    [accepted] = demo.site.policy.accepted
    assert (accepted.rule, accepted.by) == ("drop-column", "Anna Muster")
    assert demo.site.policy.severities == {"index-not-concurrent": "warn"}
