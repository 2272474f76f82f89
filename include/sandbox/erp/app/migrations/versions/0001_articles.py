"""Articles, and the record of which versions work with the schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001_articles"
down_revision = None
branch_labels = None
depends_on = None

SEED = [
    ("A-1000", "Winter wheat seed", 18990, 420),
    ("A-1010", "Spring barley seed", 17250, 310),
    ("A-1020", "Rapeseed", 24900, 150),
    ("A-1030", "Maize seed", 21500, 275),
    ("A-2000", "Calcium ammonium nitrate", 31200, 900),
    ("A-2010", "Urea granulate", 42750, 640),
    ("A-2020", "Potash 60", 38900, 380),
    ("A-3000", "Herbicide, 10 l", 12490, 96),
    ("A-3010", "Fungicide, 5 l", 15990, 84),
    ("A-4000", "Dairy feed 18 %", 29400, 510),
    ("A-4010", "Calf starter", 33150, 205),
    ("A-5000", "Baler twine", 4590, 760),
]


def upgrade() -> None:
    articles = op.create_table(
        "articles",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("number", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("price_cents", sa.Integer, sa.CheckConstraint("price_cents > 0"), nullable=False),
        sa.Column("stock", sa.Integer, nullable=False),
    )
    op.bulk_insert(
        articles,
        [
            {"number": number, "name": name, "price_cents": price, "stock": stock}
            for number, name, price, stock in SEED
        ],
    )
    op.create_table("schema_compatibility", sa.Column("oldest_version", sa.Text, nullable=False))
    op.execute("INSERT INTO schema_compatibility VALUES ('2.9.0')")


def downgrade() -> None:
    op.drop_table("schema_compatibility")
    op.drop_table("articles")
