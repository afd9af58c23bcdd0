"""Published models; the download functions of the libraries are replaced, no network is used."""

import re
import sys

import huggingface_hub
import kagglehub
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.checkpoints.hub import PUBLISHED, locate
from tests.checkpoints.test_huggingface_files import assert_same_weights
from tests.models import text_model, weights_of


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The calls of Hugging Face's library, which returns one model."""
    calls = []
    text_model().save_to_preset(tmp_path / "snapshot")

    def snapshot_download(repo_id, *, revision, allow_patterns):
        calls.append((repo_id, revision, allow_patterns))
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_size_is_fetched_by_its_name(hub, name):
    assert_same_weights(GPT2LM.from_preset(name), weights_of(text_model()))
    ((repository, revision, patterns),) = hub
    assert (repository, revision) == (f"openai-community/{name}", None)
    assert {"*.json", "merges.txt", "model*.safetensors"} <= set(patterns)


def test_an_address_may_name_a_revision(hub):
    GPT2LM.from_preset("hf://someone/some-gpt2@v1.0")
    assert hub[0][:2] == ("someone/some-gpt2", "v1.0")


def test_a_directory_of_that_name_comes_first(hub, tmp_path):
    (tmp_path / "gpt2").mkdir()
    assert locate("gpt2").resolve() == tmp_path / "gpt2"
    assert hub == []


def test_other_formats_are_fetched_only_where_there_is_no_safetensors(hub, tmp_path):
    weights = tmp_path / "snapshot" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    assert locate("hf://someone/old") == tmp_path / "snapshot"
    assert [patterns[-1] for *_, patterns in hub] == [
        "model*.safetensors",
        "model.weights.h5",
        "pytorch_model*.bin",
    ]
    weights.with_name("pytorch_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"one of model.safetensors"):
        GPT2LM.from_preset("hf://someone/empty")


def test_presets_of_kaggle_are_fetched_by_kagglehub(tmp_path, monkeypatch):
    text_model().save_to_preset(tmp_path / "model")
    handles = []
    monkeypatch.setattr(
        kagglehub, "model_download", lambda handle: handles.append(handle) or tmp_path / "model"
    )
    GPT2LM.from_preset("kaggle://keras/gpt2/keras/gpt2_base_en")
    assert handles == ["keras/gpt2/keras/gpt2_base_en"]


@pytest.mark.parametrize(
    ("library", "function", "address", "url"),
    [
        (
            huggingface_hub,
            "snapshot_download",
            "gpt2",
            "https://huggingface.co/openai-community/gpt2/tree/main",
        ),
        (
            kagglehub,
            "model_download",
            "kaggle://keras/gpt2/keras/gpt2_base_en",
            "https://www.kaggle.com/models/keras/gpt2/keras/gpt2_base_en",
        ),
    ],
)
def test_the_error_without_a_network_names_the_url_of_the_files(
    tmp_path, monkeypatch, library, function, address, url
):
    def fail(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(library, function, fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        GPT2LM.from_preset(address)
    message = str(error.value)
    assert message.startswith(f"{PUBLISHED.get(address, address)} is not complete in ")
    assert f"fetching it from {url} failed: ConnectionError: no route to host." in message
    assert "by hand into a directory" in message


def test_an_error_of_the_real_library_becomes_ours(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=rf"not complete in {tmp_path}.*LocalEntryNotFound"):
        GPT2LM.from_preset("hf://someone/some-gpt2")


def test_what_is_in_the_real_cache_loads_offline(tmp_path, monkeypatch):
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "models--openai-community--gpt2"
    model = text_model()
    model.save_to_preset(home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    assert_same_weights(GPT2LM.from_preset("gpt2"), weights_of(model))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://gpt2", "hf://gpt2 is not of the form hf://owner/name. Use, for example, hf://open"),
        ("hf://a/b/c", "hf://a/b/c is not of the form hf://owner/name."),
        ("kaggle://k/g", "kaggle://k/g is not of the form kaggle://owner/model/framework/variat"),
    ],
)
def test_an_address_of_another_form_is_an_error(address, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        locate(address)


@pytest.mark.parametrize(
    ("address", "library"),
    [("hf://a/b", "huggingface_hub"), ("kaggle://a/b/c/d", "kagglehub")],
)
def test_a_missing_library_is_named(monkeypatch, address, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'^The library {library}, .*"gpt2-keras\[hub\]"'):
        locate(address)
