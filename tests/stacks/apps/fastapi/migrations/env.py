from alembic import context
from sqlalchemy import text

from app.database import Base, engine


def note(*, ctx, step, **_):
    """When which migration was applied: alembic itself keeps only where it stands."""
    with_table = (
        "CREATE TABLE IF NOT EXISTS migrations (revision TEXT, at TEXT)",
        f"INSERT INTO migrations VALUES ('{step.up_revision_id}', strftime('%Y-%m-%d %H:%M:%f', 'now'))",
    )
    for line in with_table:
        ctx.connection.execute(text(line))


with engine.connect() as connection:
    context.configure(
        connection=connection, target_metadata=Base.metadata, on_version_apply=note
    )
    with context.begin_transaction():
        context.run_migrations()
