"""Published models: their addresses, and their files on this machine.

`huggingface_hub` and `kagglehub` download, cache and check the files. What is in their
caches loads without a network.
"""

import importlib
from pathlib import Path
from typing import Any

from gpt2_keras.checkpoints import huggingface_files, kerashub
from gpt2_keras.validation import check_path

# The four models that OpenAI published, in Hugging Face's copy.
PUBLISHED = {
    name: f"hf://openai-community/{name}"
    for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
}
HUGGING_FACE, KAGGLE = "hf://", "kaggle://"
# Everything but weights; then weights, one format after the other until there are some.
_SMALL_FILES = ["*.json", "merges.txt", "vocab.bpe", "assets/*"]
_WEIGHTS = (
    ["model*.safetensors"],
    [kerashub.WEIGHTS_FILE],
    ["pytorch_model*.bin"],
    ["tf_model.h5"],
)


def locate(preset: str | Path) -> Path:
    """Returns the directory of a preset, fetched first if it is published.

    Args:
        preset: A path; `hf://owner/name` or `hf://owner/name@revision`;
            `kaggle://owner/model/framework/variation`; or `gpt2`, `gpt2-medium`,
            `gpt2-large`, `gpt2-xl`. A path that exists comes first.

    Raises:
        TypeError: If it is neither a `str` nor a path.
        FileNotFoundError: If it is neither in the cache nor available.
        ImportError: If the library that fetches it is not installed.
        ValueError: If the address is not of these forms.
    """
    address = str(check_path("preset", preset))
    if isinstance(preset, Path) or Path(address).exists():
        return Path(preset)
    address = PUBLISHED.get(address, address)
    if address.startswith(HUGGING_FACE):
        return _fetch_hugging_face(address.removeprefix(HUGGING_FACE))
    if address.startswith(KAGGLE):
        return _fetch_kaggle(address.removeprefix(KAGGLE))
    return Path(preset)


def _fetch_hugging_face(handle: str) -> Path:
    name, _, revision = handle.partition("@")
    if name.count("/") != 1:
        raise ValueError(
            f"{HUGGING_FACE}{handle} is not of the form {HUGGING_FACE}owner/name. "
            f"Use, for example, {PUBLISHED['gpt2']}."
        )
    library = _library("huggingface_hub")
    repository = {"repo_id": name, "revision": revision or None}
    url = f"https://huggingface.co/{name}/tree/{revision or 'main'}"
    cache = importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE
    for weights in _WEIGHTS:
        try:
            found = library.snapshot_download(**repository, allow_patterns=_SMALL_FILES + weights)
        # The library below raises errors of many classes, without a common one.
        except Exception as error:
            raise _unavailable(f"{HUGGING_FACE}{handle}", url, cache, error) from error
        folder = Path(found)
        if any(any(folder.glob(pattern)) for pattern in weights):
            return folder
    return folder


def _fetch_kaggle(handle: str) -> Path:
    if handle.count("/") not in (3, 4):
        raise ValueError(
            f"{KAGGLE}{handle} is not of the form {KAGGLE}owner/model/framework/variation "
            "or the same with /version at the end. "
            f"Use, for example, {KAGGLE}keras/gpt2/keras/gpt2_base_en."
        )
    library = _library("kagglehub")
    cache = importlib.import_module("kagglehub.config").get_cache_folder()
    try:
        return Path(library.model_download(handle))
    except Exception as error:  # as above
        url = f"https://www.kaggle.com/models/{handle}"
        raise _unavailable(f"{KAGGLE}{handle}", url, cache, error) from error


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"The library {name}, which fetches published models, is not installed. "
            'Install it with `pip install "gpt2-keras[hub]"`.'
        ) from error


def _unavailable(address: str, url: str, cache: str, error: Exception) -> FileNotFoundError:
    reason = " ".join(str(error).split())[:300]
    return FileNotFoundError(
        f"{address} is not complete in {cache}, and fetching it from {url} failed: "
        f"{type(error).__name__}: {reason}. "
        f"Connect and try again; or download {huggingface_files.CONFIG_FILE}, the weights "
        "(model.safetensors) and the tokenizer's files (vocab.json, merges.txt) from there by "
        "hand into a directory, and name that directory."
    )
