"""Makes a damaged partition fit to be opened: keeps the longest history that holds, and sets the rest aside.

Nothing is destroyed. What is taken out of the partition is in a folder beside it, durably, before anything is changed,
under the names it had; a segment that is cut is there as a whole. Until the last step the partition is refused as
before, or is repaired already; whoever repairs again after a crash comes to the same end.
"""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from slakeeper.otp.filesystem import FileSystem, write_atomically
from slakeeper.otp.journal import HEADER_BYTES, create_segment, segment_path
from slakeeper.otp.survey import Survey
from slakeeper.otp.walk import read_part

# The disk or the file system gives no second names; then the file is copied.
_NO_LINK = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)

_PIECE_BYTES = 256 * 1024


def repair(fs: FileSystem, found: Survey, folder: Path) -> None:
    """Does what a survey says; durable on return. Nothing to do for a sound partition.

    Args:
        found: of the partition as it is; the caller has held its lock since.
        folder: where what is taken out goes; made if need be, with nothing of these names in it.

    Raises:
        OSError: it may be half done; survey and repair again.
    """
    if found.is_sound:
        return
    directory = found.directory
    fs.make_directory(folder)
    for path in found.aside:
        set_aside(fs, path, folder / path.name)
    fs.sync_directory(folder)
    kept = found.kept
    written = set()
    if kept.cut is not None and kept.cut[1] > HEADER_BYTES:
        first, byte = kept.cut
        path = segment_path(directory, first)
        # Not cut in place: the whole of it has a second name by now, which must not get shorter.
        write_atomically(fs, path, (read_part(fs, path)[0][:byte],)).close()
        written.add(path)
    # Without a segment after the snapshot the journal would count as lost. Of an epoch that nobody has written in: what
    # was taken out can never be taken for its continuation.
    create_segment(fs, directory, replace(kept.end, epoch=found.epoch + 1)).close()
    written.add(segment_path(directory, kept.end.seq + 1))
    for path in found.aside:
        if path not in written:
            fs.remove(path)
    fs.sync_directory(directory)


def set_aside(fs: FileSystem, source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where there is none; durable when the target's folder is synced."""
    try:
        fs.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        write_atomically(fs, target, _pieces(fs, source)).close()


def _pieces(fs: FileSystem, path: Path) -> Iterator[bytes]:
    file = fs.open(path)
    try:
        at = 0
        while piece := file.read_at(at, _PIECE_BYTES):
            yield piece
            at += len(piece)
    finally:
        file.close()
