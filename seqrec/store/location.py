"""Where a store lies: a folder of this machine, or a URL of any protocol that fsspec knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
from fsspec.registry import available_protocols, known_implementations

from seqrec.errors import MissingExtraError, SeqrecError, StoreError, nearest

if TYPE_CHECKING:
    from upath import UPath


def locate(path: str | Path | UPath) -> Path | UPath:
    """A path of this machine as `Path`, with or without `file://`; a URL of another protocol as `UPath`.

    Raises:
        StoreError: nobody knows the protocol.
        MissingExtraError: the package that opens the protocol is not installed.
    """
    url = str(path)
    if "://" not in url:
        return Path(path)  # type: ignore[arg-type]
    from upath import UPath  # where needed: it imports more than the rest of this folder

    _check_protocol(url)
    found = UPath(url)
    return Path(found.path) if found.protocol in ("file", "local") else found


def is_local(path: Path | UPath) -> bool:
    """Whether a located path lies on this machine's file system."""
    return isinstance(path, Path)


@contextmanager
def reaching(path: Path | UPath) -> Iterator[None]:
    """Tells of a failure at a URL what to check; errors of this machine's file system pass as they are.

    Raises:
        StoreError: anything that the protocol's package raised.
    """
    try:
        yield
    except SeqrecError:
        raise
    # each protocol's package has errors of its own, few of them an OSError
    except Exception as error:
        if is_local(path):
            raise
        protocol = getattr(path, "protocol", "")
        raise StoreError(
            f"cannot be reached ({type(error).__name__}: {' '.join(str(error).split())})",
            where=str(path),
            do="check address, network and credentials; beside what the service's own tools read, variables as "
            f"FSSPEC_{str(protocol).upper()}_ENDPOINT_URL and files in ~/.config/fsspec set options of the connection",
        ) from error


def _check_protocol(url: str) -> None:
    protocol = url.rsplit("::", maxsplit=1)[-1].partition("://")[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        near = nearest(protocol, available_protocols())
        hint = f"did you mean `{near}://`?" if near else "known are, among others, s3, gs, abfs, hdfs, http and file"
        raise StoreError(f"unknown protocol `{protocol}`", where=url, do=hint) from error
    except ImportError as error:
        package = known_implementations[protocol]["class"].partition(".")[0]
        raise MissingExtraError(
            f"`{protocol}://` needs the package `{package}`", do=f"pip install {package}"
        ) from error
