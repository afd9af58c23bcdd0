"""Parity with transformers: logits, hidden states, loss, greedy texts, files."""

import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Tokenizer
from gpt2_keras.training import IGNORED_TARGET, make_loss
from tests.models import CORPUS, text_model, weights_of
from tests.test_model import ROUNDING, assert_close

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.peers.models import SHAPES, ids_of, numbers, their_model  # noqa: E402


@pytest.fixture(params=SHAPES)
def pair(request, tmp_path):
    """Their model and ours, read from their directory."""
    theirs = their_model(SHAPES[request.param])
    theirs.save_pretrained(tmp_path / "theirs")
    return theirs, GPT2LM.from_preset(tmp_path / "theirs")


def test_logits_and_hidden_states_are_equal(pair):
    theirs, ours = pair
    ids = ids_of(ours.config, (2, min(ours.config.context_length, 40)))
    with torch.no_grad():
        expected = theirs(torch.tensor(ids).long(), output_hidden_states=True)
    assert_close(ours(ids), numbers(expected.logits))
    states = ours.hidden_states(ids)
    assert len(states) == len(expected.hidden_states) == ours.config.num_layers + 1
    for state, value in zip(states, expected.hidden_states, strict=True):
        assert_close(state, numbers(value))


def test_loss_with_labels_is_equal(pair):
    theirs, ours = pair
    ids = ids_of(ours.config, (3, 12))
    labels = np.where(np.random.default_rng(1).random(ids.shape) < 0.3, IGNORED_TARGET, ids)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids).long(), labels=torch.tensor(labels).long()).loss
    logits = ours(ids)
    loss = make_loss()(labels[:, 1:], logits[:, :-1])
    # A mean of differences of two values of the size of the logits, each off by their rounding.
    error = 2 * ROUNDING * float(np.abs(logits).max())
    assert float(loss) == pytest.approx(float(expected), abs=error)


def test_transformers_reads_our_model_directory(pair, tmp_path):
    theirs, ours = pair
    ours.save_to_preset(tmp_path / "ours")
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours")
    expected = theirs.state_dict()
    for name, value in again.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert again.config.n_inner == ours.config.intermediate_dim


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("form", ["safetensors", "shards", "bin", "legacy bin", "bare"])
def test_every_file_format_of_theirs_loads_bit_for_bit(tmp_path, form, dtype):
    config = SHAPES["many heads, narrow feed-forward"]
    theirs = their_model(config).to(getattr(torch, dtype))
    directory = tmp_path / "theirs"
    if form == "shards":
        theirs.save_pretrained(directory, max_shard_size="60KB")
        assert len(list(directory.glob("model-*.safetensors"))) > 2
    elif form == "bare":
        theirs.transformer.save_pretrained(directory)
    else:
        theirs.save_pretrained(directory)
    if "bin" in form:
        (directory / "model.safetensors").unlink()
        torch.save(
            theirs.state_dict(),
            directory / "pytorch_model.bin",
            _use_new_zipfile_serialization=form == "bin",
        )
    state = {name: numbers(value) for name, value in theirs.state_dict().items()}
    for name, value in weights_of(GPT2LM.from_preset(directory)).items():
        np.testing.assert_array_equal(value, state[name])


def test_an_untied_output_projection_is_an_error(tmp_path):
    config = their_model(SHAPES["tiny"]).config
    config.tie_word_embeddings = False
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "untied")
    with pytest.raises(ValueError, match=r"^lm_head.weight \(300, 16\) and transformer.wte"):
        GPT2LM.from_preset(tmp_path / "untied")


def test_greedy_texts_are_equal(tmp_path):
    ours = text_model(context_length=64)
    ours.save_to_preset(tmp_path / "ours")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    for prompt in ("the cat", "it's 42 o'clock!", "dog"):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        assert ids[0].tolist() == ours.tokenizer.encode(prompt)
        expected = theirs.generate(ids, max_new_tokens=40, do_sample=False)[0]
        text = ours.generate(prompt, max_new_tokens=40)
        texts = [ours.tokenizer.decode(expected.tolist()), tokenizer.decode(expected)]
        assert text in texts or prompt + text in texts


def test_their_tokenizer_files_are_ours(tmp_path):
    tokenizer = GPT2Tokenizer.train(CORPUS, vocab_size=280).with_special_tokens(["<|user|>"])
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "again")
    assert GPT2Tokenizer.from_directory(tmp_path / "again") == tokenizer
