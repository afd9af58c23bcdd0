"""Rows of Parquet files."""

from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from gpt2_keras.data.corpus_files import FilePath, Opener
from gpt2_keras.data.row_fields import FilePart, check_columns, field_text


def read_parquet(
    path: FilePath,
    fields: Sequence[str],
    part: FilePart,
    report: Callable[[int], None],
    open_file: Opener,
) -> Iterator[tuple[str, ...]]:
    """Reads the rows of a Parquet file; see `read_rows`. A part is a range of row groups."""
    with open_file(path) as file:
        parquet = parquet_file(file, path)
        names = parquet.schema_arrow.names
        check_columns(names, fields, path)
        start, stop = part
        groups = range(parquet.num_row_groups)[start:stop]
        row = sum(parquet.metadata.row_group(group).num_rows for group in range(start))
        for batch in parquet.iter_batches(64, row_groups=list(groups), columns=list(fields)):
            columns = [batch.column(field).to_pylist() for field in fields]
            for values in zip(*columns, strict=True):
                row += 1
                yield tuple(
                    field_text(
                        value, field, f"{path}, row {row},", f"its columns are {', '.join(names)}"
                    )
                    for field, value in zip(fields, values, strict=True)
                )
            report(file.tell())


def parquet_file(file: IO[bytes], path: FilePath) -> Any:
    """Opens a Parquet file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            f"{path} cannot be read: Parquet files need pyarrow, which is not installed. "
            "Run: pip install 'gpt2-keras[parquet]'"
        ) from error
    try:
        return parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(
            f"{path} is not a Parquet file ({error}). "
            "Fetch it again, or give the file's format with `input_format`."
        ) from error
