"""Checks that files of a tokenizer ask for GPT-2's way from a text to ids, and for nothing else.

Hugging Face's files describe a pipeline: normalizer, pre-tokenizer, model, post-processor,
decoder, and what `tokenizer_config.json` puts before or after each text. What differs from GPT-2's
is refused, whichever files stand beside it: the ids would be others without a word.
"""

from pathlib import Path
from typing import Any

from gpt2_keras.tokenizer.settings import expect, read_json_object

# Of the BPE model in tokenizer.json: each changes the ids of some texts.
_CHANGES_IDS = ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "ignore_merges")
# Of tokenizer_config.json, with what each puts where.
_ADDITIONS = {
    "add_prefix_space": "a space before",
    "add_bos_token": "its bos_token before",
    "add_eos_token": "its eos_token after",
}
# transformers' classes that have GPT-2's algorithm, and those that read tokenizer.json alone.
_CLASSES = ("GPT2Tokenizer", "GPTNeoXTokenizer", "CodeGenTokenizer", "PreTrainedTokenizer",
            "TokenizersBackend")  # fmt: skip


def check_pipeline(path: Path) -> None:
    """Checks a `tokenizer.json`.

    Args:
        path: The file.

    Raises:
        ValueError: If it gives other ids than GPT-2's algorithm, or another text from ids.
    """
    content = read_json_object(path)
    model = expect(content.get("model") or {}, dict, path, "model")
    pre_tokenizer = expect(content.get("pre_tokenizer") or {}, dict, path, "pre_tokenizer")
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
    _check_post_processor(content.get("post_processor"), path)
    _check_decoder(content.get("decoder"), path)


def _check_post_processor(post_processor: Any, path: Path) -> None:
    """Raises ValueError if a post-processor adds tokens to a text."""
    parts = [post_processor] if post_processor else []
    for part in parts:
        kind = expect(part, dict, path, "post_processor").get("type")
        if kind == "Sequence":
            parts += expect(part.get("processors") or [], list, path, "processors")
        elif kind != "ByteLevel" and not _is_bare_template(part):  # ByteLevel sets offsets alone
            raise ValueError(
                f"{path} has post_processor={part!r:.300}, which adds tokens to each text. "
                "GPT-2 adds none, and neither do we; the ids would be others. Set post_processor "
                "to null, and put the tokens into your texts yourself."
            )


def _is_bare_template(post_processor: dict[str, Any]) -> bool:
    """Returns whether a post-processor is a template of the text alone."""
    template: Any = post_processor.get("single")
    if post_processor.get("type") != "TemplateProcessing" or not isinstance(template, list):
        return False
    return all("Sequence" in piece for piece in template)


def _check_decoder(decoder: Any, path: Path) -> None:
    """Raises ValueError if a decoder gives another text than the bytes of the tokens."""
    if decoder and expect(decoder, dict, path, "decoder").get("type") != "ByteLevel":
        raise ValueError(
            f"{path} has decoder={decoder!r:.300}. A GPT-2 tokenizer.json has a ByteLevel decoder. "
            "Use the file of a GPT-2 tokenizer."
        )


def check_config(path: Path) -> None:
    """Checks a `tokenizer_config.json`.

    Args:
        path: The file.

    Raises:
        ValueError: If it asks for something before or after each text, or is of a tokenizer
            with another algorithm.
    """
    config = read_json_object(path)
    for key, addition in _ADDITIONS.items():
        if config.get(key):
            raise ValueError(
                f"{path} has {key}={str(config[key]).lower():.80}, which puts {addition} each "
                "text. GPT-2 adds nothing to a text, and neither do we; the ids would be others. "
                "Set it to false, and put it into your texts yourself."
            )
    name = config.get("tokenizer_class") or _CLASSES[0]
    if not isinstance(name, str) or name.removesuffix("Fast") not in _CLASSES:
        raise ValueError(
            f"{path} has tokenizer_class={name!r:.80}. The ids of other classes than "
            f"{', '.join(_CLASSES)} are not GPT-2's. If this tokenizer's are, set it to "
            f'"{_CLASSES[0]}".'
        )
