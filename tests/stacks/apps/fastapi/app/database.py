import os

from sqlalchemy import FetchedValue, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_engine("sqlite:///data/notes.db", connect_args={"timeout": 20})


@event.listens_for(engine, "connect")
def prepare(connection, _):
    # Readers and a writer do not wait for each other; writers wait (20 s) instead of failing.
    connection.execute("PRAGMA journal_mode = WAL")


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    author: Mapped[str]
    words: Mapped[str]
    color: Mapped[str | None]
    release: Mapped[str] = mapped_column(default=lambda: os.environ.get("RELCTL_RELEASE", ""))
    at: Mapped[str] = mapped_column(server_default=FetchedValue())
    counted: Mapped[int] = mapped_column(default=0)
