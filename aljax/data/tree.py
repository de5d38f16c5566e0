"""The files of a folder or a zip, less what systems leave there."""

import contextlib
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aljax.data.names import printable

FIELD = "--config.data.path"
SPLITS = {"train", "test"}
LITTER = {  # of macOS, Windows, Linux, Synology, QNAP; never made by people
    *("__macosx", "icon\r", "network trash folder", "temporary items"),
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),
    *("$recycle.bin", "system volume information", "found.000", "lost+found"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
}
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
WINDOWS = 0  # its programs may write backslashes for slashes in a zip
ENCRYPTED = 1  # the bit of a zip's flags
# What zipfile raises on damaged tables of contents.
DAMAGED = (zipfile.BadZipFile, NotImplementedError, ValueError)


class File(NamedTuple):
    """One file of a tree, unread."""

    size: int  # bytes
    stamp: str  # what changes when its content does


@dataclass(frozen=True)
class Tree:
    """The files of a folder or zip, by path with slashes from its top."""

    files: dict[str, File]
    folders: set[str]
    read: Callable[[str], bytes]


@contextlib.contextmanager
def opened(path: str) -> Iterator[Tree]:
    """The tree at `path`, a folder or zip, readable until the context ends.

    Raises:
        ValueError: it cannot be read, or holds what is neither file nor folder.
    """
    root = Path(os.path.expanduser(path))
    mode = _mode(path, root)
    if stat.S_ISDIR(mode):
        yield _folder_tree(root)
    elif stat.S_ISREG(mode):
        with _open_zip(path, root) as archive:
            yield _zip_tree(path, archive)
    else:
        raise ValueError(f"{FIELD}: {path!r} is neither a folder nor a zip; give one.")


def _mode(path: str, root: Path) -> int:
    """What is at `root`, as in `stat.st_mode`."""
    try:
        return root.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise ValueError(
            f"{FIELD}: there is nothing at {path!r}; give a folder or zip."
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> ValueError:
    """For a file or folder which the system does not let one read."""
    return ValueError(
        f"{FIELD}: {path!r} cannot be read ({error.strerror or error}); repair or "
        "remove it."
    )


def _is_litter(name: str) -> bool:
    """Whether a file or folder, by its name alone, is hidden or left by a system."""
    return name.startswith(".") or name.lower() in LITTER


def _folder_tree(root: Path) -> Tree:
    """Every file below `root`, through symbolic links too; stamped by size and time."""
    files, folders = {}, _top_folders(root)
    pending = [("", [_identity(root.stat())])]
    if not any(name.split("/")[-1] in SPLITS for name in folders):
        pending = []  # whatever lies deeper, and however much: it is laid out otherwise
    while pending:
        folder, above = pending.pop()
        for name, status in _entries(root / folder):
            path = f"{folder}{name}"
            if stat.S_ISDIR(status.st_mode):
                folders.add(path)
                pending.append((f"{path}/", _below(root / path, status, above)))
            elif stat.S_ISREG(status.st_mode):
                stamp = f"{status.st_size} {status.st_mtime_ns}"
                files[path] = File(status.st_size, stamp)
            else:
                kind = KINDS.get(stat.S_IFMT(status.st_mode), "no file")
                raise ValueError(
                    f"{FIELD}: {str(root / path)!r} is {kind}, not an image; remove it."
                )
    return Tree(files, folders, lambda name: (root / name).read_bytes())


def _top_folders(root: Path) -> set[str]:
    """The folders in `root`, and those in it if it is a single one."""
    folders = {name for name, status in _entries(root) if stat.S_ISDIR(status.st_mode)}
    if len(folders) == 1 and not folders & SPLITS:
        (inner,) = folders
        folders |= {
            f"{inner}/{name}"
            for name, status in _entries(root / inner)
            if stat.S_ISDIR(status.st_mode)
        }
    return folders


def _entries(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Name and state of each visible file and folder in one folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_litter(entry.name):
                    yield entry.name, entry.stat()
    except OSError as error:
        raise _unreadable(error.filename, error) from error


def _identity(status: os.stat_result) -> tuple[int, int]:
    """What two paths to the same folder have in common."""
    return status.st_dev, status.st_ino


def _below(folder: Path, status: os.stat_result, above: list) -> list:
    """The identities of a folder and of all that hold it."""
    identity = _identity(status)
    if identity in above:
        raise ValueError(
            f"{FIELD}: {str(folder)!r} is a link to a folder that holds it; remove it."
        )
    return [*above, identity]


def _open_zip(path: str, root: Path) -> zipfile.ZipFile:
    """A zip whose table of contents can be read."""
    try:
        archive = zipfile.ZipFile(root)
        if any(info.header_offset < 0 for info in archive.infolist()):
            archive.close()
            raise zipfile.BadZipFile("its beginning is missing")
        return archive
    except OSError as error:
        raise _unreadable(path, error) from error
    except DAMAGED as error:
        with root.open("rb") as file:
            begins_well = file.read(2) == b"PK"
        if not (begins_well or zipfile.is_zipfile(root)):
            raise ValueError(
                f"{FIELD}: {path!r} is neither a folder nor a zip; give one."
            ) from error
        raise ValueError(
            f"{FIELD}: the zip {path!r} is damaged or cut short ({error}); fetch it "
            "again."
        ) from error


def _zip_tree(path: str, archive: zipfile.ZipFile) -> Tree:
    """Every file of a zip, stamped by size and checksum; of equal names the last."""
    members: dict[str, zipfile.ZipInfo] = {}
    folders: dict[str, str | None] = {"": ""}  # as stored -> with its slash, or litter
    for info in archive.infolist():
        stored = info.filename
        if info.create_system == WINDOWS:
            stored = stored.replace("\\", "/")
        above, _, name = stored.rpartition("/")
        if above not in folders:
            folders[above] = _zip_folder(path, above)
        folder = folders[above]
        if folder is None or _is_litter(name):
            continue
        _check_member(path, info)
        if name:
            members[folder + name] = info
    files = {
        name: File(info.file_size, f"{info.file_size} {info.CRC:08x}")
        for name, info in members.items()
    }
    visible = _with_parents(folder for folder in folders.values() if folder)
    return Tree(files, visible, lambda name: archive.read(members[name]))


def _zip_folder(path: str, stored: str) -> str | None:
    """A folder's path in the zip, with a slash; None if it or one above is litter."""
    parts = [part for part in stored.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _not_in_zip(path, "holds a file outside of itself", stored)
    if any(map(_is_litter, parts)):
        return None
    return "".join(f"{part}/" for part in parts)


def _with_parents(folders: Iterable[str]) -> set[str]:
    """Folders and all folders above them, without slashes at their ends."""
    found: set[str] = set()
    for folder in folders:
        parts = folder.split("/")[:-1]
        found |= {"/".join(parts[: depth + 1]) for depth in range(len(parts))}
    return found


def _check_member(path: str, info: zipfile.ZipInfo) -> None:
    """Refuse a member whose content is no plain file."""
    if info.flag_bits & ENCRYPTED:
        raise _not_in_zip(path, "is encrypted", info.filename)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _not_in_zip(path, "holds a symbolic link", info.filename)


def _not_in_zip(path: str, wrong: str, name: str) -> ValueError:
    """For what can only be read when it has been unpacked."""
    return ValueError(
        f"{FIELD}: {path!r} {wrong} ({printable(name)}); unpack it and give the folder."
    )
