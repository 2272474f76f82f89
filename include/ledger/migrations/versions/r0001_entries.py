"""The table of entries, which grows at its end and in no other way."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE stellwerk_ledger.entries (
            sequence    bigint PRIMARY KEY CHECK (sequence > 0),
            kind        text NOT NULL,
            release     text NOT NULL,
            environment text NOT NULL,
            run_id      text NOT NULL,
            actor       text NOT NULL,
            key         text UNIQUE,
            at          timestamptz NOT NULL,
            recorded_at timestamptz NOT NULL,
            payload     json NOT NULL,
            previous    text NOT NULL UNIQUE CHECK (previous ~ '^[0-9a-f]{64}$'),
            hash        text NOT NULL UNIQUE CHECK (hash ~ '^[0-9a-f]{64}$')
        )
    """)
    op.execute("CREATE INDEX entries_by_release ON stellwerk_ledger.entries (release, environment, run_id)")
    # The owner is let through: moving or archiving the ledger is a deliberate act, and the chain shows it.
    op.execute("""
        CREATE FUNCTION stellwerk_ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID) THEN
                RETURN NULL;
            END IF;
            RAISE EXCEPTION 'the ledger is append-only: % refused for %', TG_OP, current_user
                USING ERRCODE = 'insufficient_privilege';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON stellwerk_ledger.entries
        FOR EACH STATEMENT EXECUTE FUNCTION stellwerk_ledger.refuse_change()
    """)
    # A writer that goes around Stellwerk cannot fork the chain or leave a gap either.
    op.execute("""
        CREATE FUNCTION stellwerk_ledger.extend_only() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            last stellwerk_ledger.entries%ROWTYPE;
        BEGIN
            SELECT * INTO last FROM stellwerk_ledger.entries ORDER BY sequence DESC LIMIT 1;
            IF NEW.sequence <> coalesce(last.sequence, 0) + 1
               OR NEW.previous <> coalesce(last.hash, repeat('0', 64)) THEN
                RAISE EXCEPTION 'an entry of the ledger must follow entry %', coalesce(last.sequence, 0)
                    USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER extend_only BEFORE INSERT ON stellwerk_ledger.entries
        FOR EACH ROW EXECUTE FUNCTION stellwerk_ledger.extend_only()
    """)


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back")
