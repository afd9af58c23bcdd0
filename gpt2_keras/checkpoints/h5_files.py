"""Opening HDF5 files that others wrote, so that no other file is read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py

from gpt2_keras.checkpoints.damaged import damaged


@contextlib.contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """Opens an HDF5 file whose contents are all in it.

    An HDF5 file can name others: by external links, by datasets whose numbers are stored
    elsewhere, and by virtual datasets. Such a file could bring any file that the user may read
    into the weights. Source: HDF5 User's Guide, "Links" and "External storage".

    Raises:
        ValueError: If the file is damaged or names others.
    """
    try:
        file = h5py.File(path)
    except OSError as error:  # what h5py raises for damage
        raise damaged(path, "HDF5 file", error) from error
    with file:
        try:
            names = _names_of_others(file)
        except (OSError, RuntimeError, KeyError) as error:
            raise damaged(path, "HDF5 file", error) from error
        if names:
            raise ValueError(
                f"{path} would read another file at {', '.join(names):.200}, which was not done. "
                "A checkpoint is complete in itself. Get the weights as safetensors, or from "
                "someone you trust."
            )
        yield file


def _names_of_others(file: h5py.File) -> list[str]:
    """Returns the paths in a file of all that is a link or is stored elsewhere."""
    found: list[str] = []

    def visit_link(name: str, link: object) -> None:
        if not isinstance(link, h5py.HardLink):
            found.append(name)

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            found.append(name)

    file.visititems_links(visit_link)
    file.visititems(visit)
    return found
