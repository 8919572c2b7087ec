"""Counts the words of new notes; any number of counters may run: python -m app.counter"""

import signal
import threading

from sqlalchemy import text

from app.database import engine

over = threading.Event()

# One statement: no two counters can get the same note.
NEXT = text(
    "UPDATE notes SET counted = counted + 1 "
    "WHERE id = (SELECT id FROM notes WHERE counted = 0 ORDER BY id LIMIT 1) RETURNING id, words"
)


def main():
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    while not over.is_set():
        with engine.begin() as connection:
            found = connection.execute(NEXT).one_or_none()
        if found is None:
            over.wait(0.2)
        else:
            print(f"note {found.id} has {len(found.words.split())} words", flush=True)


main()
