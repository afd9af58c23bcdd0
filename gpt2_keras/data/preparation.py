"""Token shards, made on this machine: files are read, encoded and their ids put on disk."""

import collections
import contextlib
from collections.abc import Iterable
from pathlib import Path

from gpt2_keras.atomic import new_directory
from gpt2_keras.data.cleaning import cleaned
from gpt2_keras.data.document_encoder import DocumentEncoder
from gpt2_keras.data.documents import Progress, read_documents
from gpt2_keras.data.files import FilePath
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.selection import SeenFingerprints, digest_of, fingerprints_of, validates
from gpt2_keras.data.shard_files import TRAINING, VALIDATION, ShardWriter, dtype_of, index_text
from gpt2_keras.data.shards import DTYPES, INDEX_NAME, TokenShards
from gpt2_keras.data.text import check_paths
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

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
    `<|endoftext|>` in a text is plain text. The directory appears when everything
    is written; until then, and if it fails, there is nothing under its name.

    Args:
        paths: Files, as for `read_texts`.
        tokenizer: Makes the ids.
        out_dir: Directory to make. It may be there if it is empty.
        options: What to leave out, clean and split; by default nothing.
        on_progress: Called with the number of bytes read and of all bytes.

    Returns:
        The shards, opened.

    Raises:
        TypeError: If `paths` is one path.
        ValueError: If no path is given, a file is not UTF-8 text or not of its
            format, all are empty, or a side of the split would be.
        FileExistsError: If `out_dir` is there and not empty. Nothing is changed.
        NotADirectoryError: If it is a file.
        OSError: If a file cannot be read, or the shards not be written.
        ImportError: If pyarrow is needed and not there.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.jsonl").write_text('{"text": "One."}\\n{"text": "One."}\\n')
        >>> tokenizer = GPT2Tokenizer.train(["One."], vocab_size=257)
        >>> options = PreparationOptions(deduplicate="exact")
        >>> tokenizer.decode(prepare([folder / "a.jsonl"], tokenizer, folder / "out", options)[:])
        'One.<|endoftext|>'
    """
    files = check_paths(paths)
    options = options or PreparationOptions()
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
            for document in cleaned(documents, options, counts):
                digest = digest_of(document.pieces) if options.needs_digest else b""
                prints = fingerprints_of(digest, document.pieces, options.deduplicate)
                if not seen.add(prints):
                    counts["duplicates"] += 1
                    continue
                side = VALIDATION if validates(digest, options.validation_fraction) else TRAINING
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
