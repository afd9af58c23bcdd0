"""Reading and writing the files of a GPT-2 tokenizer.

A vocabulary is kept in one of three formats, all of them found in the wild:

    vocab.json + merges.txt      Hugging Face
    encoder.json + vocab.bpe     OpenAI
    tokenizer.json               Hugging Face, everything in one file

Tokens are spelled in OpenAI's byte alphabet: see `byte_alphabet`.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gpt2_keras.atomic import new_file
from gpt2_keras.tokenizer.byte_alphabet import CHARACTER_TO_BYTE
from gpt2_keras.tokenizer.pipeline import check_config, check_pipeline
from gpt2_keras.tokenizer.settings import (
    CONFIG_FILE,
    SINGLE_FILE,
    add_special_tokens,
    read_added_tokens,
    read_json_object,
    read_settings,
    read_text,
)
from gpt2_keras.tokenizer.vocabulary import END_OF_TEXT, Vocabulary, check_id_types
from gpt2_keras.validation import check_flag, check_path

MERGES_HEADER = "#version: 0.2"  # first line of OpenAI's vocab.bpe and of every merges.txt
FILE_PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def read_vocabulary(path: str | os.PathLike[str]) -> Vocabulary:
    """Reads the vocabulary of a directory, whichever its format.

    The first of the three formats of this module that is there in full is read.
    Special tokens are those of `added_tokens.json`, `tokenizer.json`,
    `tokenizer_config.json` and `special_tokens_map.json`. The last two name the
    `eos_token`, which ends a document; otherwise it is `<|endoftext|>`. What
    `tokenizer.json` and `tokenizer_config.json` say of the way from a text to ids must be as
    in GPT-2, whichever file is read: see `pipeline`.

    Args:
        path: Folder of the files.

    Raises:
        FileNotFoundError: If the directory or the files are not there.
        TypeError: If `path` is no path.
        ValueError: If a file is damaged or is not a byte-level BPE vocabulary,
            two do not fit together, or texts are not split as GPT-2 does.
    """
    folder = Path(check_path("path", path))
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"{folder} {problem}. Use a directory with {_expected_files()}.")
    if (folder / SINGLE_FILE).is_file():
        check_pipeline(folder / SINGLE_FILE)
    if (folder / CONFIG_FILE).is_file():
        check_config(folder / CONFIG_FILE)
    for vocabulary_name, merges_name in FILE_PAIRS:
        if (folder / vocabulary_name).is_file() and (folder / merges_name).is_file():
            return _read_pair(folder / vocabulary_name, folder / merges_name)
    if (folder / SINGLE_FILE).is_file():
        return _read_single(folder / SINGLE_FILE)
    known = {name for pair in FILE_PAIRS for name in pair}
    found = sorted(file.name for file in folder.iterdir() if file.name in known)
    raise FileNotFoundError(
        f"{folder} has {' and '.join(found) or 'no tokenizer files'}. A tokenizer directory has "
        f"{_expected_files()}. Use another directory, or make one with `gpt2-keras tokenizer`."
    )


def _expected_files() -> str:
    pairs = [f"{vocabulary} and {merges}" for vocabulary, merges in FILE_PAIRS]
    return ", or ".join([*pairs, f"{SINGLE_FILE} alone"])


def _read_pair(vocabulary_path: Path, merges_path: Path) -> Vocabulary:
    """Reads the ids from one file and the merges from another."""
    ids = dict(read_json_object(vocabulary_path))
    where = f"{vocabulary_path} with {merges_path.name}"
    return _vocabulary(ids, read_merges(merges_path), vocabulary_path, where)


def _read_single(path: Path) -> Vocabulary:
    """Reads everything from Hugging Face's `tokenizer.json`."""
    content = read_json_object(path)
    model = content.get("model") or {}
    ids, merges = model.get("vocab"), model.get("merges")
    if not isinstance(ids, dict) or not isinstance(merges, list):
        raise ValueError(
            f"{path} has a vocab that is a {type(ids).__name__} and merges that are a "
            f"{type(merges).__name__}. Its model needs an object `vocab` and a list `merges`. "
            "The file is damaged: fetch it again."
        )
    return _vocabulary(ids, _pairs(merges, path), path, str(path))


def _vocabulary(
    ids: dict[str, int], merges: list[tuple[str, str]], path: Path, where: str
) -> Vocabulary:
    """Returns the vocabulary of ids and merges, with the special tokens of the files beside it."""
    check_id_types(ids, where)
    settings = read_settings(path.parent)
    # Trainers number special tokens first: what stands before all bytes and is made by no merge.
    first_byte = min((ids[byte] for byte in CHARACTER_TO_BYTE if byte in ids), default=0)
    made = {left + right for left, right in merges}
    first = {name: i for name, i in ids.items() if i < first_byte and name not in made}
    added = {**first, **read_added_tokens(path.parent)}
    special = add_special_tokens(ids, added, settings, path)
    return Vocabulary(ids, merges, special, settings.get("eos_token", END_OF_TEXT), where)


def read_merges(path: Path) -> list[tuple[str, str]]:
    """Reads `merges.txt`: a header, then one pair per line."""
    lines = read_text(path).split("\n")
    # `#` is a token too, so only the header's own words make a comment.
    if lines[0].startswith("#version"):
        lines = lines[1:]
    return _pairs([line for line in lines if line], path)


def _pairs(merges: Iterable[Any], path: Path) -> list[tuple[str, str]]:
    """Returns merges as pairs, given as `"a b"` or as `["a", "b"]`."""
    pairs = []
    for rank, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(map(_is_token, parts)):
            raise ValueError(
                f"Merge {rank} of {path} is {merge!r:.60}. A merge is two tokens with one space "
                "between. The file is damaged or incomplete: fetch it again."
            )
        pairs.append((parts[0], parts[1]))
    return pairs


def _is_token(part: Any) -> bool:
    return isinstance(part, str) and part != ""


def write_files(
    directory: str | os.PathLike[str], contents: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Writes text files into a directory, each under a temporary name and then renamed.

    A file that has the content already is left as it is.

    Args:
        directory: Folder to write into; made if it is not there.
        contents: The text of each file name.
        overwrite: Whether files with another content may be replaced.

    Raises:
        TypeError: If `directory` is no path or `overwrite` no bool.
        FileExistsError: If a file is there with another content and may not be
            replaced. Nothing is written then.
    """
    check_flag("overwrite", overwrite)
    folder = Path(check_path("directory", directory))
    folder.mkdir(parents=True, exist_ok=True)
    encoded = {folder / name: text.encode("utf-8") for name, text in contents.items()}
    changed = {
        path: raw for path, raw in encoded.items() if not path.exists() or path.read_bytes() != raw
    }
    existing = sorted(path.name for path in changed if path.exists())
    if existing and not overwrite:
        raise FileExistsError(
            f"{folder} has another {', '.join(existing)}. The files of another tokenizer are "
            "replaced only if you ask. Use an empty directory, or overwrite=True "
            "(--overwrite on the command line)."
        )
    with contextlib.ExitStack() as stack:  # all are written before the first gets its name
        for path, raw in changed.items():
            stack.enter_context(new_file(path)).write_bytes(raw)


def merges_text(merges: Iterable[tuple[str, str]]) -> str:
    """Returns the text of `merges.txt`, the same as OpenAI's `vocab.bpe`."""
    return "\n".join([MERGES_HEADER, *(f"{left} {right}" for left, right in merges), ""])
