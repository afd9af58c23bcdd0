"""What the files of a tokenizer say besides the vocabulary: added tokens and their roles."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt2_keras.json_text import parse_json
from gpt2_keras.tokenizer.vocabulary import END_OF_TEXT, check_id_types

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
# Of what is read: the added tokens that `tokenizer.json` gives `"special": false`.
WORDS_KEY = "added_words"
# Flags of an added token that change which text becomes it, or what is beside it.
_CHANGES_TEXT = ("lstrip", "rstrip", "single_word")
_JSON_NAMES = {dict: "an object", list: "a list", str: "a string", int: "an integer"}
ENCODING = "utf-8-sig"  # editors on Windows write a byte order mark, which is no part of the text


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads what `tokenizer_config.json` and the files beside it say besides the vocabulary.

    Args:
        path: Folder of the files.

    Returns:
        The keys of `tokenizer_config.json` that do not change the ids of a text: the roles of
        special tokens, the chat template and so on; none where there is no file. Under
        `WORDS_KEY` the added tokens that are ordinary words, if there are any.

    Raises:
        ValueError: If a file is not a JSON object, or not text.
    """
    folder = Path(path)
    found: dict[str, Any] = {}
    for name in (ROLES_FILE, CONFIG_FILE):
        if (folder / name).is_file():
            contents = read_json_object(folder / name)
            found |= {key: contents[key] for key in _KEPT if contents.get(key) is not None}
            for role in (contents[role] for role in ROLES if isinstance(contents.get(role), dict)):
                _check_flags(role, folder / name)
    if (folder / CHAT_TEMPLATE_FILE).is_file():
        found["chat_template"] = read_text(folder / CHAT_TEMPLATE_FILE)
    found |= {role: _content(found[role]) for role in ROLES if role in found}
    for token in _role_tokens(found):
        expect(token, str, folder / CONFIG_FILE, "a special token")
    if words := _added_words(folder, _role_tokens(found)):
        found[WORDS_KEY] = words
    return found


def _role_tokens(settings: Mapping[str, Any]) -> list[Any]:
    """Returns the tokens that settings give a role."""
    tokens = [settings[role] for role in ROLES if settings.get(role) is not None]
    for key in _MORE_ROLES:
        more = settings.get(key, [])
        # transformers writes a list, and of tokens with names an object.
        more = list(more.values()) if isinstance(more, dict) else more
        tokens += map(_content, more if isinstance(more, list) else [more])
    return tokens


def _content(token: Any) -> Any:
    """Returns the text of a token that is given as a text, or as an object of an AddedToken."""
    return token.get("content") if isinstance(token, dict) else token


def read_added_tokens(folder: Path) -> dict[str, int]:
    """Reads the added tokens that files beside the vocabulary name, with their ids."""
    added: dict[str, int] = {}
    if (folder / ADDED_TOKENS_FILE).is_file():
        added.update(read_json_object(folder / ADDED_TOKENS_FILE))
        check_id_types(added, str(folder / ADDED_TOKENS_FILE))
    for path, token in _described_tokens(folder):
        added[token["content"]] = expect(
            token.get("id"), int, path, f"the id of {token['content']!r}"
        )
    return added


def _added_words(folder: Path, roles: list[Any]) -> list[str]:
    """Returns the added tokens that are ordinary words: their files say `special` is false."""
    described = _described_tokens(folder)
    words = [token["content"] for _, token in described if token.get("special") is False]
    special = [token["content"] for _, token in described if token.get("special") is not False]
    return sorted(set(words) - {*special, *roles, END_OF_TEXT})


def _described_tokens(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Returns the files that describe added tokens by objects, each with such an object."""
    entries: list[tuple[Path, Any]] = []
    if (path := folder / SINGLE_FILE).is_file():
        listed = read_json_object(path).get("added_tokens") or []
        entries += [(path, entry) for entry in expect(listed, list, path, "added_tokens")]
    if (path := folder / CONFIG_FILE).is_file():
        by_id = read_json_object(path).get("added_tokens_decoder") or {}
        for number, entry in expect(by_id, dict, path, "added_tokens_decoder").items():
            token_id = int(number) if number.isdecimal() else number
            entries.append((path, {**expect(entry, dict, path, f"token {number}"), "id": token_id}))
    for path, entry in entries:
        _check_flags(expect(entry, dict, path, "an added token"), path)
    return entries


def _check_flags(token: Mapping[str, Any], path: Path) -> None:
    """Raises ValueError if an added token changes the text beside it."""
    content = expect(token.get("content"), str, path, "the content of an added token")
    if flags := [flag for flag in _CHANGES_TEXT if token.get(flag)]:
        raise ValueError(
            f"{path} has the special token {content!r} with {flags[0]}=true, by "
            "which the text beside it changes. We leave that text as it is, and the ids would "
            "be others. Set it to false, as it is for GPT-2's tokens."
        )


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
    special = {token for token in (END_OF_TEXT, *added, *_role_tokens(settings)) if token in ids}
    return tuple(sorted(special, key=ids.__getitem__))


def expect(value: Any, kind: type, path: Path, what: str) -> Any:
    """Returns a value of a JSON file that must be of a type.

    Args:
        value: The value.
        kind: The type: `dict`, `list`, `str` or `int`.
        path: The file, for the error.
        what: What the value is, for the error.

    Raises:
        ValueError: If it is of another type.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(
            f"{path} has {value!r:.80} as {what}, where {_JSON_NAMES[kind]} belongs. "
            "The file is damaged: fetch it again."
        )
    return value


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
        content = parse_json(path.read_text(encoding=ENCODING))
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
