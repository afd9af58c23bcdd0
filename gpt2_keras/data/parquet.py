"""Rows of Parquet files."""

from collections.abc import Iterator
from typing import IO, Any

from gpt2_keras.data.corpus_files import FilePath
from gpt2_keras.data.row_fields import Fields, RowFile, check_columns, row_texts


def read_parquet(source: RowFile, fields: Fields) -> Iterator[tuple[str, ...]]:
    """Reads the rows of a Parquet file; see `read_rows`. A part is a range of row groups."""
    path, (start, stop) = source.path, source.part
    with source.open_file(path) as file:
        parquet = parquet_file(file, path)
        names = parquet.schema_arrow.names
        check_columns(names, fields, path)
        columns_text = f"its columns are {', '.join(names)}"
        groups = range(parquet.num_row_groups)[start:stop]
        row = sum(parquet.metadata.row_group(group).num_rows for group in range(start))
        for batch in parquet.iter_batches(
            64, row_groups=list(groups), columns=list(fields.values())
        ):
            columns = [batch.column(field).to_pylist() for field in fields.values()]
            for values in zip(*columns, strict=True):
                row += 1
                line = f"{path}, row {row},"
                yield row_texts(values, fields, line, columns_text)
            source.report(file.tell())


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
