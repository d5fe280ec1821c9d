"""Copies a Debian image's files without what a running Python needs not: ``copy_root.py FROM TO``.

Left out: package managers, Perl, documentation (the licences stay), translations, tools for disks,
Python's own installer and tests. The list of installed packages stays, so that scanners find it.
"""

import os
import shutil
import stat
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from install_for import compile_if_same, find_python_version

LEFT_OUT = [
    *("dev/*", "proc/*", "sys/*", "run/*", "tmp/*", "boot/*", "media/*", "mnt/*", "root/*"),
    *("var/cache/*", "var/log/*", "var/lib/apt/*", "var/lib/dpkg/info/*", "var/lib/dpkg/*-old"),
    *("etc/apt/*", "etc/dpkg/*", "usr/share/keyrings/*", "usr/lib/apt/*", "usr/lib/dpkg/*"),
    *("usr/bin/apt*", "usr/bin/dpkg*", "usr/sbin/dpkg*", "usr/lib/*/libapt-p*", "usr/share/dpkg/*"),
    *("usr/bin/perl*", "usr/lib/*/perl*", "usr/share/perl*", "usr/share/debconf/*"),
    *("usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "usr/share/i18n/*"),
    *("usr/share/bash-completion/*", "usr/share/zsh/*", "usr/share/lintian/*", "usr/share/bug/*"),
    *("usr/share/zoneinfo/right/*", "usr/share/zoneinfo/posix/*", "usr/lib/*/gconv/*"),
    *("usr/lib/locale/*", "usr/sbin/*fs*", "usr/sbin/*disk*", "usr/sbin/debugfs", "usr/sbin/e2*"),
    *("usr/lib/systemd/*", "usr/lib/udev/*", "usr/lib/*/security/*", "usr/lib/*/e2fsprogs/*"),
    *("usr/local/lib/python3.*/ensurepip", "usr/local/lib/python3.*/idlelib"),
    *("usr/local/lib/python3.*/lib2to3", "usr/local/lib/python3.*/turtledemo"),
    *("usr/local/lib/python3.*/tkinter", "usr/local/lib/python3.*/test"),
    *("usr/local/lib/python3.*/config-*", "usr/local/lib/python3.*/site-packages/pip*"),
    *("usr/local/lib/libpython*.a", "usr/local/lib/python3.*/pydoc_data"),
    *("usr/local/lib/python3.*/lib-dynload/_test*", "usr/local/lib/python3.*/lib-dynload/xx*"),
    *("usr/bin/gpgv", "usr/bin/openssl", "usr/lib/*/libgnutls*", "usr/lib/*/libgcrypt*"),
    *("usr/lib/*/libdb-5*", "usr/lib/*/libext2fs*", "usr/lib/*/libunistring*"),
    *("usr/lib/*/libp11-kit*", "usr/lib/*/libsepol*", "usr/sbin/ldconfig"),
    *("usr/local/bin/pip*", "usr/local/bin/idle*", "usr/local/share/man/*", "usr/local/include/*"),
    *("*.pyc", "*/__pycache__"),
]
LICENCES = "usr/share/doc/*/copyright"
OPEN_FOLDERS = ("tmp", "ascend-bert", "ascend-bert/results")
"""Any uid must be able to write there, that of the caller as well as the image's own."""


def main(source, destination):
    """Copies the tree and makes the folders that the application writes to."""
    copy_tree(Path(source), Path(destination))
    version = find_python_version(Path(source))
    compile_if_same(f"{destination}/usr/local/lib/python{version}", version)
    for name in OPEN_FOLDERS:
        folder = Path(destination) / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)


def is_left_out(path):
    """Whether a path, relative to the root, has no place in the image."""
    if path.startswith("usr/share/doc/"):
        return not fnmatchcase(path, LICENCES) and path.count("/") > 3
    return any(fnmatchcase(path, pattern) for pattern in LEFT_OUT)


def copy_tree(source, destination):
    """Copies folders, files and links with modes and owners; devices and pipes stay behind."""
    copied = {}
    for folder, folders, files in os.walk(source):
        inner = Path(folder).relative_to(source)
        copy_entry(Path(folder), destination / inner, copied)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in files + links:
            if not is_left_out((inner / name).as_posix()):
                copy_entry(Path(folder) / name, destination / inner / name, copied)
        folders[:] = [
            name
            for name in folders
            if name not in links and not is_left_out((inner / name).as_posix())
        ]


def copy_entry(path, target, copied):
    """Copies one entry; files that are one on disk stay one."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        target.symlink_to(os.readlink(path))
    elif stat.S_ISDIR(found.st_mode):
        target.mkdir(exist_ok=True)
    elif stat.S_ISREG(found.st_mode):
        if (found.st_dev, found.st_ino) in copied:
            os.link(copied[found.st_dev, found.st_ino], target)
            return
        shutil.copyfile(path, target)
        copied[found.st_dev, found.st_ino] = target
    else:
        return
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        # No program of the image may give itself the rights of another user.
        target.chmod(stat.S_IMODE(found.st_mode) & ~(stat.S_ISUID | stat.S_ISGID))


if __name__ == "__main__":
    main(*sys.argv[1:])
