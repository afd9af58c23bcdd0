"""The preparation of token shards on this machine: reads files, encodes them, writes the ids."""

import collections
import contextlib
from collections.abc import Iterable
from pathlib import Path

from gpt2_keras.atomic import new_directory
from gpt2_keras.data.cleaning import clean_documents
from gpt2_keras.data.corpus_files import FilePath, check_paths
from gpt2_keras.data.document_encoder import DocumentEncoder
from gpt2_keras.data.documents import Progress, check_progress, read_documents
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.selection import SeenFingerprints, select
from gpt2_keras.data.shard_files import TRAINING, VALIDATION, ShardWriter, dtype_of, index_text
from gpt2_keras.data.shards import DTYPES, INDEX_NAME, TokenShards
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer
from gpt2_keras.validation import check_instance, check_path

_SEEN_NAME = "seen.sqlite"


def prepare(
    paths: Iterable[FilePath],
    tokenizer: GPT2Tokenizer,
    out_dir: FilePath,
    options: PreparationOptions | None = None,
    *,
    on_progress: Progress | None = None,
) -> TokenShards:
    """Turns files into token shards, in constant memory.

    A text file is one document; of JSONL, CSV and Parquet files each row is one.
    Documents come in the order of the files and rows; empty ones are left out.
    `<|endoftext|>` in a text is plain text. The directory appears once everything
    is written; until then, and after a failure, nothing has its name.

    Args:
        paths: Files, as for `read_texts`.
        tokenizer: Encodes the texts.
        out_dir: Directory to write, new or empty.
        options: What to leave out, clean and split; by default nothing.
        on_progress: Called with the number of bytes read and of all bytes.

    Returns:
        The shards, opened.

    Raises:
        TypeError: If `paths` is one path, or an argument is of a wrong type.
        ValueError: If no path is given, a file is not UTF-8 text or not of its
            format, all are empty, or a side of the split would be.
        FileExistsError: If `out_dir` exists and is not empty. Nothing is changed.
        NotADirectoryError: If it is a file.
        OSError: If a file cannot be read, or the shards cannot be written.
        ImportError: If pyarrow is needed and not installed.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.jsonl").write_text('{"text": "One."}\\n{"text": "One."}\\n')
        >>> tokenizer = GPT2Tokenizer.train(["One."], vocab_size=257)
        >>> options = PreparationOptions(deduplicate="exact")
        >>> tokenizer.decode(prepare([folder / "a.jsonl"], tokenizer, folder / "out", options)[:])
        'One.<|endoftext|>'
    """
    options = check_arguments(tokenizer, out_dir, options)
    check_progress(on_progress)
    files = check_paths(paths)
    dtype = DTYPES[dtype_of(tokenizer)]
    encoder = DocumentEncoder(tokenizer, options, dtype)
    with new_directory(Path(out_dir)) as folder:
        with contextlib.ExitStack() as stack:
            seen = stack.enter_context(SeenFingerprints(folder / _SEEN_NAME))
            writers = {
                side: stack.enter_context(ShardWriter(folder, side, dtype, options.shard_tokens))
                for side in (TRAINING, VALIDATION)
            }
            counts = collections.Counter[str]()
            documents = read_documents(
                files, options.input_format, options.text_field, on_progress=on_progress
            )
            for document in clean_documents(documents, options, counts):
                digest, fingerprints, is_validation = select(document.chunks, options)
                if not seen.add(fingerprints):
                    counts["duplicates"] += 1
                    continue
                side = VALIDATION if is_validation else TRAINING
                for raw in encoder.add(document, digest, side):
                    writers[side].write(raw)
                counts[side] += 1
            for side, writer in writers.items():
                writer.write(encoder.finish(side))
        sources = [(file.name, file.stat().st_size) for file in files]
        shards = {side: writer.shards for side, writer in writers.items()}
        index = index_text(tokenizer, options, shards, counts, sources)
        (folder / INDEX_NAME).write_text(index, encoding="utf-8")
    return TokenShards.open(out_dir)


def check_arguments(
    tokenizer: GPT2Tokenizer, out_dir: FilePath, options: PreparationOptions | None
) -> PreparationOptions:
    """Checks the arguments of both runners; returns the options, by default the default ones.

    Raises:
        TypeError: If one is of a wrong type.
    """
    check_instance("tokenizer", tokenizer, GPT2Tokenizer, "a GPT2Tokenizer")
    check_path("out_dir", out_dir)
    if options is None:
        return PreparationOptions()
    check_instance("options", options, PreparationOptions, "PreparationOptions")
    return options
