"""Where the encoded state of an actor is: in memory until a snapshot holds it, from then on in that file alone."""

from zlib import crc32

from slakeeper.otp.filesystem import Readable
from slakeeper.otp.journal import JournalError


class Place:
    """A piece of a durable file, and the checksum by which it is known again.

    Args:
        file: open; it may have lost its name.
        offset, length: of the piece [bytes].
        crc: CRC-32 of the piece.
    """

    __slots__ = ("_crc", "_file", "_length", "_offset")

    def __init__(self, file: Readable, offset: int, length: int, crc: int) -> None:
        self._file = file
        self._offset = offset
        self._length = length
        self._crc = crc

    def read(self) -> bytes:
        """The piece, from the disk.

        Raises:
            JournalError: it cannot be read, or is not what was written. The next opening finds the file damaged and
                goes by the snapshot before it.
        """
        try:
            content = self._file.read_at(self._offset, self._length)
        except OSError as error:
            raise JournalError(f"{self._file}: byte {self._offset}: cannot be read: {error}") from error
        if len(content) != self._length or crc32(content) != self._crc:
            raise JournalError(
                f"{self._file}: byte {self._offset}: damaged since it was written; stop, and recover from the disk"
            )
        return content


class Base:
    """One actor's encoded state. Its reader and the thread that writes snapshots may be two."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes | Place) -> None:
        self._content = content

    def read(self) -> bytes:
        """The state.

        Raises:
            JournalError: it is on the disk, and cannot be read.
        """
        content = self._content  # once: it may move meanwhile
        return content if isinstance(content, bytes) else content.read()

    def move(self, place: Place) -> None:
        """It is there from now on, durably, and no longer where it was."""
        self._content = place
