"""A reader of PyTorch's files that needs no PyTorch and runs none of their code.

A file of `torch.save` is a pickle and the bytes of the tensors. A pickle is a program that
may call any function. This reader has its own versions of the few functions that tensors
need, and raises an error for every other name before it is looked up.

Source of the two layouts: `_save` and `_legacy_save` in pytorch/pytorch
`torch/serialization.py`; of the functions, `torch/_utils.py`.
"""

import collections
import math
import operator
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import ml_dtypes
import numpy as np

from gpt2_keras.checkpoints.damaged import damaged

# Strings: a pickle could change an object, such as a NumPy dtype, that it gets.
_STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
# The first of the pickles of a file from before PyTorch 1.6: MAGIC_NUMBER.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# What the unpickler and the reader of archives raise for damaged files, and for hostile ones.
_DAMAGE = (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError, struct.error,
           ValueError, OverflowError, MemoryError, RuntimeError, OSError)  # fmt: skip
_WHAT = "file of torch.save"
# Five for each tensor of the largest GPT-2 and of its optimizer are 9000. Tuples in tuples are
# hashed by recursion, which at 100,000 of them overflows the stack of a thread.
_MAX_TUPLES = 20_000
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # PKWARE's APPNOTE.TXT, 4.3.7


class TorchTensor(NamedTuple):
    """The position, shape and strides of a tensor in a file."""

    storage: "_Storage"
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Returns the tensor, memory-mapped."""
        storage = self.storage
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        # The pickle may be wrong: what is read must lie inside the file.
        inside = min(self.offset, *self.stride, *self.shape, 0) == 0
        if not inside or (0 not in self.shape and self.offset + last >= storage.size):
            reason = f"a tensor of shape {self.shape} exceeds its storage"
            raise damaged(storage.path, _WHAT, reason)
        dtype = storage.numpy_dtype
        start = storage.start.get(storage.key, math.inf)
        if start + storage.size * dtype.itemsize > storage.path.stat().st_size:
            raise damaged(storage.path, _WHAT, f"storage {storage.key!r} is truncated")
        numbers = np.memmap(storage.path, dtype, "r", int(start), shape=(storage.size,))
        strides = [step * dtype.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(
            numbers[self.offset :], self.shape, strides, writeable=False
        )


class _Storage(NamedTuple):
    """The memory of one or more tensors, in a file."""

    path: Path
    key: str
    dtype: str
    size: int
    start: dict[str, int]  # offset of every storage in the file; filled as the file is read

    @property
    def numpy_dtype(self) -> np.dtype:
        """The dtype of its numbers."""
        return np.dtype(getattr(ml_dtypes, self.dtype, self.dtype))


def read_torch_file(path: str | Path) -> Any:
    """Reads a file of `torch.save` that holds tensors, numbers, text and containers.

    No code of the file is run, and PyTorch need not be installed.

    Args:
        path: The file, of any PyTorch version.

    Returns:
        The contents, with a `TorchTensor` for each tensor, whose numbers are not read yet.

    Raises:
        UnsafePickleError: If the file would call anything else; it is not called.
        ValueError: If it is damaged or no such file.
    """
    path = Path(path)
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    return _read_zip(path) if is_zip else _read_legacy(path)


def named_tensors(contents: dict[str, Any]) -> dict[str, TorchTensor]:
    """Returns the tensors of a state dictionary."""
    items = dict.items(contents)  # a pickle may have set an attribute `items`
    return {str(name): value for name, value in items if isinstance(value, TorchTensor)}


def _read_zip(path: Path) -> Any:
    """Reads the layout of PyTorch 1.6 and later."""
    start: dict[str, int] = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            (pickled,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            prefix = pickled.removesuffix("data.pkl") + "data/"
            for entry in archive.infolist():
                if entry.filename.startswith(prefix):
                    file.seek(entry.header_offset)
                    *_, name_size, extra_size = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
                    data = entry.header_offset + _LOCAL_HEADER.size + name_size + extra_size
                    start[entry.filename.removeprefix(prefix)] = data
            # torch.save stores its entries; what is compressed may be of any size in memory.
            if archive.getinfo(pickled).compress_type != zipfile.ZIP_STORED:
                raise pickle.UnpicklingError(f"its {pickled} is compressed")
            with archive.open(pickled) as stream:
                _check_opcodes(stream, archive.getinfo(pickled).file_size)
            with archive.open(pickled) as stream:
                return _Unpickler(stream, path, start).load()
    except UnsafePickleError:
        raise
    except (zipfile.BadZipFile, *_DAMAGE) as error:
        raise damaged(path, _WHAT, error) from error


def _read_legacy(path: Path) -> Any:
    """Reads the layout from before PyTorch 1.6: pickles, then the bytes of each storage."""
    start: dict[str, int] = {}
    storages: dict[str, _Storage] = {}
    try:
        with path.open("rb") as file:
            parts = []
            for _ in range(5):
                begin = file.tell()
                _check_opcodes(file, path.stat().st_size)
                file.seek(begin)
                parts.append(_Unpickler(file, path, start, storages).load())
            magic, _version, _system, contents, keys = parts
            if magic != _LEGACY_MAGIC:
                raise pickle.UnpicklingError("its magic number is another")
            for key in keys:
                (size,) = struct.unpack("<q", file.read(8))
                start[key] = file.tell()
                file.seek(size * storages[key].numpy_dtype.itemsize, 1)
    except UnsafePickleError:
        raise
    except _DAMAGE as error:
        raise damaged(path, _WHAT, error) from error
    return contents


def _check_opcodes(stream: IO[bytes], size: int) -> None:
    """Raises an error for a pickle whose few bytes would take much memory or all of the stack.

    Args:
        stream: The pickle, which is read to its end.
        size: Its number of bytes, or more.
    """
    num_tuples = 0
    for opcode, argument, _ in pickletools.genops(stream):
        # The unpickler makes a table as long as the largest place that is named.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > size:
            raise pickle.UnpicklingError(f"it names place {argument} of its memo")
        num_tuples += opcode.name.startswith("TUPLE")
    if num_tuples > _MAX_TUPLES:
        raise pickle.UnpicklingError(f"it has {num_tuples} tuples")


class UnsafePickleError(ValueError):
    """A pickle that would call more than the functions that tensors need."""


class _Unpickler(pickle.Unpickler):
    """Reads a pickle of tensors; raises an error for every name but a few."""

    def __init__(
        self,
        stream: Any,
        path: Path,
        start: dict[str, int],
        storages: dict[str, _Storage] | None = None,
    ) -> None:
        super().__init__(stream, encoding="utf-8")
        self._path, self._start, self._storages = path, start, storages
        # New for each file: what a pickle changes here, no other pickle sees.
        self._known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, stride, *_: (
                _tensor(storage, offset, shape, stride)
            ),
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
            ("torch", "Size"): lambda sizes: tuple(sizes),
            **{("torch", name): dtype for name, dtype in _STORAGES.items()},
        }

    def find_class(self, module: str, name: str) -> Any:
        """Returns our version of a function that the pickle names."""
        if (module, name) not in self._known:
            raise UnsafePickleError(
                f"{self._path} would call {module}.{name}, which was not done. A checkpoint "
                "holds tensors, numbers, text and containers of them only. "
                "Get the weights as safetensors, or from someone you trust."
            )
        return self._known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the storage of a tensor's persistent id."""
        _, dtype, key, _location, size, *_view = pid
        if dtype not in _STORAGES.values() or not isinstance(key, str):
            raise pickle.UnpicklingError(f"a storage of dtype {dtype!r:.40} and key {key!r:.40}")
        storage = _Storage(self._path, key, dtype, size, self._start)
        if self._storages is not None:
            self._storages[key] = storage
        return storage


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> TorchTensor:
    """Returns the tensor of a pickle, whose fields may be anything."""
    sizes = tuple(map(operator.index, (offset, storage.size, *shape, *stride)))
    if not isinstance(storage, _Storage) or min(sizes) < 0 or len(shape) != len(stride):
        raise pickle.UnpicklingError(f"a tensor of shape {shape!r:.40} and stride {stride!r:.40}")
    return TorchTensor(storage, offset, tuple(shape), tuple(stride))
