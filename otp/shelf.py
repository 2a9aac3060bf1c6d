"""Where the states of actors lie that nobody records and that are put away: on disk, for as long as this process lives.

A temporary SQLite database, which has a page cache of fixed size and uses the room of what was taken again. SQLite
makes its file in ``$SQLITE_TMPDIR``, ``$TMPDIR``, /var/tmp or /tmp, without a name for anybody else to open.
"""

import sqlite3

# What SQLite keeps in memory of it [KiB].
_CACHE_KIB = 2_048


class Shelf:
    """Encoded states by address. Costs nothing until something is put there. One thread at a time."""

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None

    def put(self, address: str, state: bytes) -> None:
        """Keeps a state, in place of an earlier one.

        Raises:
            sqlite3.Error: there is no room, or no directory to write to; the earlier one is kept.
        """
        if self._database is None:
            self._database = _temporary_database()
        self._database.execute("REPLACE INTO state VALUES (?, ?)", (address, state))

    def get(self, address: str) -> bytes | None:
        """The state kept for an address; None without one.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        if self._database is None:
            return None
        found = self._database.execute("SELECT state FROM state WHERE address = ?", (address,)).fetchone()
        return None if found is None else found[0]

    def discard(self, address: str) -> None:
        """Forgets it; one that is not there is no error."""
        if self._database is not None:
            self._database.execute("DELETE FROM state WHERE address = ?", (address,))

    def close(self) -> None:
        """Everything is gone; a second call does nothing."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def __del__(self) -> None:
        self.close()


def _temporary_database() -> sqlite3.Connection:
    # The empty name stands for a database of its own on disk, removed when it is closed. The thread that builds a
    # host need not be the one that runs it.
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    # It need not survive anything, so neither a journal nor a sync.
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE state (address TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID")
    return database
