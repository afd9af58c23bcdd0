"""What the files of a tokenizer say besides the vocabulary: special tokens and their roles."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt2_keras.tokenizer.vocabulary import END_OF_TEXT

SINGLE_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
ADDED_TOKENS_FILE = "added_tokens.json"
ROLES_FILE = "special_tokens_map.json"  # written by transformers before version 5
CHAT_TEMPLATE_FILE = "chat_template.jinja"  # written by transformers since version 4.50
# Keys of tokenizer_config.json whose value is a special token, or several.
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
_MORE_ROLES = ("additional_special_tokens", "extra_special_tokens")
# Keys of tokenizer_config.json that a tokenizer keeps and saves again; POLICY_KEY is our own.
POLICY_KEY = "special_tokens_policy"
_KEPT = (*ROLES, *_MORE_ROLES, POLICY_KEY, "split_special_tokens", "chat_template",
         "model_max_length", "padding_side", "truncation_side", "model_input_names")  # fmt: skip
# Flags of an added token that change which text becomes it, or what is beside it.
_CHANGES_TEXT = ("lstrip", "rstrip", "single_word")
ENCODING = "utf-8-sig"  # editors on Windows write a byte order mark, which is no part of the text


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads what `tokenizer_config.json` and the files beside it say besides the vocabulary.

    Args:
        path: Folder of the files.

    Returns:
        The keys of `tokenizer_config.json` that do not change the ids of a text: the roles of
        special tokens, the chat template and so on; none where there is no file.

    Raises:
        ValueError: If a file is not a JSON object, or not text.
    """
    folder = Path(path)
    found: dict[str, Any] = {}
    for name in (ROLES_FILE, CONFIG_FILE):
        if (folder / name).is_file():
            contents = read_json_object(folder / name)
            found |= {key: contents[key] for key in _KEPT if contents.get(key) is not None}
    if (folder / CHAT_TEMPLATE_FILE).is_file():
        found["chat_template"] = read_text(folder / CHAT_TEMPLATE_FILE)
    return found | {role: _content(found[role]) for role in ROLES if role in found}


def _content(token: Any) -> Any:
    """Returns the text of a token that is given as a text, or as an object of an AddedToken."""
    return token.get("content") if isinstance(token, dict) else token


def read_added_tokens(folder: Path) -> dict[str, int]:
    """Reads the special tokens that files beside the vocabulary name, with their ids."""
    added: dict[str, int] = {}
    if (folder / ADDED_TOKENS_FILE).is_file():
        added.update(read_json_object(folder / ADDED_TOKENS_FILE))
    entries: list[tuple[Path, Any, Mapping[str, Any]]] = []
    if (folder / SINGLE_FILE).is_file():
        listed = read_json_object(folder / SINGLE_FILE).get("added_tokens") or []
        entries += [(folder / SINGLE_FILE, entry["id"], entry) for entry in listed]
    if (folder / CONFIG_FILE).is_file():
        by_id = read_json_object(folder / CONFIG_FILE).get("added_tokens_decoder") or {}
        entries += [(folder / CONFIG_FILE, int(number), entry) for number, entry in by_id.items()]
    for path, token_id, entry in entries:
        if flags := [flag for flag in _CHANGES_TEXT if entry.get(flag)]:
            raise ValueError(
                f"{path} has the special token {entry['content']!r} with {flags[0]}=true, by "
                "which the text beside it changes. We leave that text as it is, and the ids would "
                "be others. Set it to false, as it is for GPT-2's tokens."
            )
        added[entry["content"]] = token_id
    return added


def add_special_tokens(
    ids: dict[str, int], added: Mapping[str, int], settings: Mapping[str, Any], path: Path
) -> tuple[str, ...]:
    """Puts the added tokens into `ids`; returns the special ones in the order of their ids."""
    for token, token_id in added.items():
        if ids.setdefault(token, token_id) != token_id:
            raise ValueError(
                f"{token!r} has id {token_id} beside {path}, where its id is {ids[token]}. "
                "A special token has one id. Use the files of one tokenizer."
            )
    more = [token for key in _MORE_ROLES for token in settings.get(key, [])]
    roles = [settings.get(role) for role in ROLES] + [_content(token) for token in more]
    special = {token for token in (END_OF_TEXT, *added, *roles) if token in ids}
    return tuple(sorted(special, key=ids.__getitem__))


def read_text(path: Path) -> str:
    """Returns the text of a UTF-8 file, without a byte order mark."""
    try:
        return path.read_text(encoding=ENCODING)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error}). The file is damaged: fetch it again."
        ) from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file."""
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
