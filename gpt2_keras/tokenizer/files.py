"""The files of a GPT-2 tokenizer: read and written.

A vocabulary is kept in one of three ways, all of them found in the wild:

    vocab.json + merges.txt      Hugging Face
    encoder.json + vocab.bpe     OpenAI
    tokenizer.json               Hugging Face, everything in one file

Tokens are spelled in OpenAI's byte alphabet: see `byte_alphabet`.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gpt2_keras.atomic import new_file
from gpt2_keras.tokenizer.vocabulary import END_OF_TEXT, Vocabulary

MERGES_HEADER = "#version: 0.2"  # first line of OpenAI's vocab.bpe and of every merges.txt
FILE_PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
SINGLE_FILE = "tokenizer.json"


def read_vocabulary(directory: str | os.PathLike[str]) -> Vocabulary:
    """Reads the vocabulary of a directory, whichever way it is kept.

    The first of the three ways of this module that is there in full is read.
    Special tokens other than `<|endoftext|>` are those of `added_tokens.json`
    and `tokenizer.json`.

    Args:
        directory: Folder of the files.

    Raises:
        FileNotFoundError: If the directory or the files are not there.
        ValueError: If a file is damaged or is not a byte-level BPE vocabulary,
            or two do not fit together.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"A tokenizer is a directory of files. Received: {str(folder)!r}, which is "
            f"{'a file' if folder.exists() else 'not there'}. Name the directory that holds "
            f"{_wanted()}."
        )
    for vocabulary_name, merges_name in FILE_PAIRS:
        if (folder / vocabulary_name).is_file() and (folder / merges_name).is_file():
            return _read_pair(folder / vocabulary_name, folder / merges_name)
    if (folder / SINGLE_FILE).is_file():
        return _read_single(folder / SINGLE_FILE)
    known = {name for pair in FILE_PAIRS for name in pair}
    found = sorted(path.name for path in folder.iterdir() if path.name in known)
    raise FileNotFoundError(
        f"A tokenizer directory holds {_wanted()}. "
        f"Received: {str(folder)!r}, which has {' and '.join(found) or 'none of them'}. "
        "Name another directory, or make one with `gpt2-keras tokenizer`."
    )


def _wanted() -> str:
    pairs = [f"{vocabulary} and {merges}" for vocabulary, merges in FILE_PAIRS]
    return ", or ".join([*pairs, f"{SINGLE_FILE} alone"])


def _read_pair(vocabulary_path: Path, merges_path: Path) -> Vocabulary:
    """Reads the ids from one file and the merges from another."""
    ids = dict(_read_json_object(vocabulary_path))
    added = _read_added_tokens(vocabulary_path.parent)
    special = _add_special_tokens(ids, added, vocabulary_path)
    where = f"{vocabulary_path} with {merges_path.name}"
    return Vocabulary(ids, _read_merges(merges_path), special, where)


def _read_single(path: Path) -> Vocabulary:
    """Reads everything from Hugging Face's `tokenizer.json`."""
    content = _read_json_object(path)
    model = content.get("model") or {}
    splitter = content.get("pre_tokenizer") or {}
    kinds = (model.get("type", "BPE"), splitter.get("type"), splitter.get("add_prefix_space"))
    if kinds != ("BPE", "ByteLevel", False):
        raise ValueError(
            "A GPT-2 tokenizer.json has a BPE model and a ByteLevel pre-tokenizer that adds no "
            f"prefix space. Received: {path} with model={kinds[0]!r}, pre_tokenizer={splitter!r}. "
            "Use the file of a GPT-2 tokenizer."
        )
    ids, merges = model.get("vocab"), model.get("merges")
    if content.get("normalizer") is not None:
        raise ValueError(
            "GPT-2 changes no text before it is split. "
            f"Received: {path} with normalizer={content['normalizer']!r}. "
            "Use the file of a GPT-2 tokenizer."
        )
    if not isinstance(ids, dict) or not isinstance(merges, list):
        raise ValueError(
            "The model of a tokenizer.json has `vocab`, an object, and `merges`, a list. "
            f"Received: {path} with vocab={type(ids).__name__}, merges={type(merges).__name__}. "
            "The file is damaged: fetch it again."
        )
    special = _add_special_tokens(ids, _read_added_tokens(path.parent), path)
    return Vocabulary(ids, _pairs(merges, path), special, str(path))


def _read_added_tokens(folder: Path) -> dict[str, int]:
    """Reads the special tokens that files beside the vocabulary name, with their ids."""
    added: dict[str, int] = {}
    if (folder / "added_tokens.json").is_file():
        added.update(_read_json_object(folder / "added_tokens.json"))
    if (folder / SINGLE_FILE).is_file():
        entries = _read_json_object(folder / SINGLE_FILE).get("added_tokens") or []
        added.update({entry["content"]: entry["id"] for entry in entries})
    return added


def _add_special_tokens(
    ids: dict[str, int], added: Mapping[str, int], path: Path
) -> tuple[str, ...]:
    """Puts the added tokens into `ids`; returns the special ones in the order of their ids."""
    for token, token_id in added.items():
        if ids.setdefault(token, token_id) != token_id:
            raise ValueError(
                "A special token has one id. "
                f"Received: {token!r} with id {token_id} beside {path}, where it is {ids[token]}. "
                "Use the files of one tokenizer."
            )
    special = {token for token in (END_OF_TEXT, *added) if token in ids}
    return tuple(sorted(special, key=ids.__getitem__))


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(
            f"{path.name} is a JSON object. Received: {path}, which is not JSON ({error}). "
            "The file is damaged or cut short: fetch it again."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path.name} is a JSON object. Received: {path}, a {type(content).__name__}. "
            "Use the file of a GPT-2 tokenizer."
        )
    return content


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Reads `merges.txt`: a header, then one pair a line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} is UTF-8 text. Received: {path}, which is not ({error}). "
            "The file is damaged: fetch it again."
        ) from error
    # `#` is a token too, so only the header's own words make a comment.
    if lines[0].startswith("#version"):
        lines = lines[1:]
    return _pairs([line for line in lines if line], path)


def _pairs(merges: Iterable[Any], path: Path) -> list[tuple[str, str]]:
    """Returns merges as pairs, given as `"a b"` or as `["a", "b"]`."""
    pairs = []
    for rank, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(parts):
            raise ValueError(
                "A merge is two tokens with one space between. "
                f"Received: {merge!r}, merge {rank} of {path}. "
                "The file is damaged or cut short: fetch it again."
            )
        pairs.append((parts[0], parts[1]))
    return pairs


def write_files(
    directory: str | os.PathLike[str], contents: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Writes text files into a directory, each beside its place and then renamed.

    A file that has the wanted content already is left as it is.

    Args:
        directory: Folder to write into; made if it is not there.
        contents: The text of each file name.
        overwrite: Whether files with another content may be replaced.

    Raises:
        FileExistsError: If a file is there with another content and may not be
            replaced. Nothing is written then.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {folder / name: text.encode("utf-8") for name, text in contents.items()}
    changed = {
        path: raw for path, raw in wanted.items() if not path.exists() or path.read_bytes() != raw
    }
    taken = sorted(path.name for path in changed if path.exists())
    if taken and not overwrite:
        raise FileExistsError(
            "Files of another tokenizer are not replaced unasked. "
            f"Received: directory={str(folder)!r}, which has another {', '.join(taken)}. "
            "Choose an empty directory, or pass overwrite=True."
        )
    for path, raw in changed.items():
        with new_file(path) as unfinished:
            unfinished.write_bytes(raw)


def merges_text(merges: Iterable[tuple[str, str]]) -> str:
    """Returns the text of `merges.txt`, the same as OpenAI's `vocab.bpe`."""
    return "\n".join([MERGES_HEADER, *(f"{left} {right}" for left, right in merges), ""])
