import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = ("expand",)


def upgrade():
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("words", sa.String, nullable=False),
        sa.Column("color", sa.String),
        sa.Column("release", sa.String, nullable=False),
        sa.Column("at", sa.String, server_default=sa.text("(strftime('%Y-%m-%d %H:%M:%f', 'now'))")),
        sa.Column("counted", sa.Integer, nullable=False),
    )
