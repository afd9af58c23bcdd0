"""Reading and writing the files of a GPT-2 tokenizer.

A vocabulary is kept in one of three formats, all of them found in the wild:

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
from gpt2_keras.validation import check_flag, check_path

MERGES_HEADER = "#version: 0.2"  # first line of OpenAI's vocab.bpe and of every merges.txt
FILE_PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
SINGLE_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
# Of the BPE model in tokenizer.json: each changes the ids of some texts.
_CHANGES_IDS = ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "ignore_merges")
ENCODING = "utf-8-sig"  # editors on Windows write a byte order mark, which is no part of the text


def read_vocabulary(path: str | os.PathLike[str]) -> Vocabulary:
    """Reads the vocabulary of a directory, whichever its format.

    The first of the three formats of this module that is there in full is read.
    Special tokens other than `<|endoftext|>` are those of `added_tokens.json`
    and `tokenizer.json`. What `tokenizer.json` and `tokenizer_config.json` say of the
    splitting of a text must be as in GPT-2, whichever file is read.

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
        _check_pipeline(folder / SINGLE_FILE)
    if (folder / CONFIG_FILE).is_file():
        _check_config(folder / CONFIG_FILE)
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
    ids = dict(_read_json_object(vocabulary_path))
    added = _read_added_tokens(vocabulary_path.parent)
    special = _add_special_tokens(ids, added, vocabulary_path)
    where = f"{vocabulary_path} with {merges_path.name}"
    return Vocabulary(ids, _read_merges(merges_path), special, where)


def _read_single(path: Path) -> Vocabulary:
    """Reads everything from Hugging Face's `tokenizer.json`."""
    content = _read_json_object(path)
    model = content.get("model") or {}
    ids, merges = model.get("vocab"), model.get("merges")
    if not isinstance(ids, dict) or not isinstance(merges, list):
        raise ValueError(
            f"{path} has a vocab that is a {type(ids).__name__} and merges that are a "
            f"{type(merges).__name__}. Its model needs an object `vocab` and a list `merges`. "
            "The file is damaged: fetch it again."
        )
    special = _add_special_tokens(ids, _read_added_tokens(path.parent), path)
    return Vocabulary(ids, _pairs(merges, path), special, str(path))


def _check_pipeline(path: Path) -> None:
    """Raises ValueError if a `tokenizer.json` gives other ids than GPT-2's algorithm."""
    content = _read_json_object(path)
    model = content.get("model") or {}
    pre_tokenizer = content.get("pre_tokenizer") or {}
    model_type = model.get("type", "BPE")
    splitting = pre_tokenizer.get("type"), pre_tokenizer.get("add_prefix_space")
    if (model_type, *splitting) != ("BPE", "ByteLevel", False):
        raise ValueError(
            f"{path} has model={model_type!r}, pre_tokenizer={pre_tokenizer!r}. A GPT-2 "
            "tokenizer.json has a BPE model and a ByteLevel pre-tokenizer that adds no prefix "
            "space. Use the file of a GPT-2 tokenizer."
        )
    others = {"normalizer": content.get("normalizer")}
    others |= {name: model.get(name) for name in _CHANGES_IDS}
    others["use_regex=False"] = not pre_tokenizer.get("use_regex", True)
    for name, value in others.items():
        if value:
            raise ValueError(
                f"{path} has {name}={value!r}. A GPT-2 tokenizer.json has none. "
                "Use the file of a GPT-2 tokenizer."
            )


def _check_config(path: Path) -> None:
    """Raises ValueError if a `tokenizer_config.json` asks for a space before each text."""
    if _read_json_object(path).get("add_prefix_space"):
        raise ValueError(
            f"{path} has add_prefix_space=true. GPT-2 puts no space before a text, and so do we; "
            "the ids would be others. Set it to false, and begin texts with a space yourself."
        )


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
                f"{token!r} has id {token_id} beside {path}, where its id is {ids[token]}. "
                "A special token has one id. Use the files of one tokenizer."
            )
    special = {token for token in (END_OF_TEXT, *added) if token in ids}
    return tuple(sorted(special, key=ids.__getitem__))


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding=ENCODING))
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(
            f"{path} is not JSON ({error}). The file is damaged or incomplete: fetch it again."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} is a {type(content).__name__}, not a JSON object. "
            "Use the file of a GPT-2 tokenizer."
        )
    return content


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Reads `merges.txt`: a header, then one pair per line."""
    try:
        lines = path.read_text(encoding=ENCODING).split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error}). The file is damaged: fetch it again."
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
                f"Merge {rank} of {path} is {merge!r}. A merge is two tokens with one space "
                "between. The file is damaged or incomplete: fetch it again."
            )
        pairs.append((parts[0], parts[1]))
    return pairs


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
    for path, raw in changed.items():
        with new_file(path) as unfinished:
            unfinished.write_bytes(raw)


def merges_text(merges: Iterable[tuple[str, str]]) -> str:
    """Returns the text of `merges.txt`, the same as OpenAI's `vocab.bpe`."""
    return "\n".join([MERGES_HEADER, *(f"{left} {right}" for left, right in merges), ""])
