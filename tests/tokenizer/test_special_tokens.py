"""One policy decides which special tokens of a text become their id, in every path."""

import itertools
import json
import random

import numpy as np
import pytest
import tensorflow as tf
import tokenizers

from gpt2_keras.checkpoints import save
from gpt2_keras.data.document_encoder import DocumentEncoder
from gpt2_keras.data.documents import Document
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.bpe_dropout import BPEDropout
from gpt2_keras.tokenizer.bulk import BulkEncoder
from gpt2_keras.tokenizer.graph.layers import TokenizerLayer
from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer
from gpt2_keras.tokenizer.special_tokens import check_allowed_special

END, USER, BOT = "<|endoftext|>", "<|user|>", "<|bot|>"
TEXTS = [
    f"{USER}low lower{BOT}lowest {END}!",
    f"  {BOT}{BOT} low's",
    "plain",
    f"{USER}",
    "<|user",
    "",
]


@pytest.fixture(scope="module")
def tokenizer():
    plain = GPT2Tokenizer.train(["low lower lowest slow's " * 9], vocab_size=280)
    return plain.with_special_tokens([USER, BOT])


@pytest.fixture(scope="module")
def by_huggingface(tokenizer, tmp_path_factory):
    """Encodes as `tokenizers` does with the added tokens alone, each a token of its own."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    contents = json.loads((folder / "tokenizer.json").read_text())
    contents["added_tokens"] = [one for one in contents["added_tokens"] if one["content"] != END]
    return tokenizers.Tokenizer.from_str(json.dumps(contents))


def test_added_tokens_become_their_id_and_the_end_token_stays_text(tokenizer, by_huggingface):
    for text in TEXTS:
        assert tokenizer.encode(text) == by_huggingface.encode(text).ids
    assert tokenizer.end_token_id not in tokenizer.encode(END)
    assert tokenizer.encode(END, allowed_special="all") == [tokenizer.end_token_id]


def test_with_none_of_them_every_text_is_plain(tokenizer):
    plain = tokenizer.with_special_tokens_policy("none")
    special = set(tokenizer.special_tokens.values())
    for text in TEXTS:
        ids = plain.encode(text)
        assert not special & set(ids)
        assert ids == tokenizer.encode(text, allowed_special="none")
        assert plain.decode(ids) == text


@pytest.mark.parametrize("policy", ["added", "none", "all", [BOT]])
def test_the_policy_is_kept_by_saving_pickling_and_more_tokens(tokenizer, policy, tmp_path):
    changed = tokenizer.with_special_tokens_policy(policy)
    changed.save(tmp_path)
    loaded = GPT2Tokenizer.from_directory(tmp_path)
    assert loaded == changed
    assert loaded.special_tokens_policy == policy
    assert (loaded == tokenizer) == (policy == "added")
    larger = changed.with_special_tokens(["<|x|>"])
    assert larger.special_tokens_policy == policy
    assert larger.without_special_tokens(["<|x|>"]) == changed
    assert larger.fingerprint != changed.fingerprint == tokenizer.fingerprint


def test_a_token_that_is_taken_out_leaves_a_listed_policy(tokenizer):
    listed = tokenizer.with_special_tokens_policy([USER, BOT])
    assert listed.without_special_tokens([BOT]).allowed_special == (USER,)


def test_what_transformers_calls_split_special_tokens_is_the_policy_none(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"split_special_tokens": True}))
    assert GPT2Tokenizer.from_directory(tmp_path).allowed_special == ()
    tokenizer.with_special_tokens_policy("none").save(tmp_path / "none")
    saved = json.loads((tmp_path / "none" / "tokenizer_config.json").read_text())
    assert saved["split_special_tokens"] is True


def test_a_policy_that_is_none_is_an_error(tokenizer):
    rule = r"Use 'added', 'none', 'all', or a list of special tokens; there are \['<\|endoftext"
    with pytest.raises(ValueError, match=rf"^special_tokens='some' is one str\. {rule}"):
        tokenizer.with_special_tokens_policy("some")
    with pytest.raises(ValueError, match=r"^special_tokens has '<x>', no special token\."):
        tokenizer.with_special_tokens_policy(["<x>"])
    with pytest.raises(TypeError, match=r"^special_tokens=3 is an int\."):
        tokenizer.with_special_tokens_policy(3)
    with pytest.raises(
        ValueError, match=r"^allowed_special='added' is one str\. Use 'none', 'all'"
    ):
        check_allowed_special("added", [END])
    assert tokenizer.with_special_tokens_policy(None) is tokenizer


@pytest.mark.parametrize("policy", ["added", "none", "all", [BOT]])
def test_every_encoder_gives_the_same_ids(tokenizer, policy):
    tokenizer = tokenizer.with_special_tokens_policy(policy)
    expected = tokenizer.encode(TEXTS)
    graph = GraphTokenizer.from_tokenizer(tokenizer)
    assert graph.tokenize(TEXTS).to_list() == expected
    data = [tf.constant(list(text.encode()), tf.int32, [len(text)]) for text in TEXTS]
    assert [graph.tokenize_bytes(one).numpy().tolist() for one in data] == expected
    ids, counts = TokenizerLayer.from_tokenizer(tokenizer)(tf.constant(TEXTS))
    rows = zip(ids.numpy().tolist(), counts.numpy(), strict=True)
    assert [row[:count] for row, count in rows] == expected
    dropout = BPEDropout(tokenizer, 0.0)
    assert [dropout.encode(text, seeded()) for text in TEXTS] == expected
    raw = BulkEncoder(tokenizer, np.dtype("<u2"), between=[9, 9]).encode_texts(TEXTS)
    joined = [*itertools.chain.from_iterable([*ids, 9, 9] for ids in expected)][:-2]
    assert np.frombuffer(raw, "<u2").tolist() == joined


@pytest.mark.parametrize("dropout", [0.0, 1.0])
@pytest.mark.parametrize("policy", ["added", "none"])
def test_a_document_has_the_same_ids_wherever_its_chunks_end(
    tokenizer, policy, dropout, monkeypatch
):
    monkeypatch.setattr("gpt2_keras.data.document_encoder.BATCH_CHARACTERS", 8)
    options = PreparationOptions(bpe_dropout=dropout, special_tokens=policy, end_of_text=False)
    rng = seeded()
    parts = (USER, BOT, " ", "  ", "low", " lowest", "12", "\n", ".", "<|", "user|>", "'s", "a<|us")
    for _ in range(300):
        text = "".join(rng.choices(parts, k=12))
        # Chunks as `read_texts` makes them: they end where GPT-2's pattern begins a pre-token.
        chunks = [chunk for chunk in _chunks(text, rng) if chunk]
        encoder = DocumentEncoder(tokenizer, options, np.dtype("<u2"))
        document = Document((0, 0, 0), "a.txt", tuple(chunks))
        raw = b"".join(encoder.add(document, b"", "")) + encoder.finish("")
        ids = np.frombuffer(raw, "<u2").tolist()
        if dropout:  # every merge is left out: bytes and special tokens
            whole = tokenizer.with_special_tokens_policy(policy)
            expected = BPEDropout(whole, 1.0).encode(text, seeded())
        else:
            expected = tokenizer.encode(text, allowed_special=policy)
        assert ids == expected, (text, chunks)


def seeded():
    return random.Random(0)  # noqa: S311 -- not for secrets


def _chunks(text, rng):
    from gpt2_keras.data.text_files import rechunk

    cuts = sorted(rng.sample(range(len(text) + 1), 3))
    return rechunk([text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])], "a.txt")


# What other tools write beside a vocabulary.


def own_vocabulary(folder, **roles):
    """The files of `tokenizers`' ByteLevelBPETokenizer with RoBERTa's special tokens."""
    trainer = tokenizers.ByteLevelBPETokenizer()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    texts = ["the cat sat on the mat. " * 30]
    trainer.train_from_iterator(texts, vocab_size=300, special_tokens=names)
    trainer.save_model(str(folder))
    for name, contents in roles.items():
        (folder / f"{name}.json").write_text(json.dumps(contents))
    return trainer


@pytest.mark.parametrize(
    ("name", "eos"),
    [
        ("special_tokens_map", "</s>"),
        ("tokenizer_config", "</s>"),
        ("tokenizer_config", {"content": "</s>", "lstrip": False}),
    ],
)
def test_the_files_beside_a_vocabulary_name_its_end_token(tmp_path, name, eos):
    trainer = own_vocabulary(tmp_path, **{name: {"eos_token": eos, "bos_token": "<s>"}})
    tokenizer = GPT2Tokenizer.from_directory(tmp_path)
    assert tokenizer.end_token_id == 2
    assert tokenizer.allowed_special == ("<s>", "<pad>", "<unk>", "<mask>")
    for text in ("the cat", "<s>the<mask> cat<pad>"):
        assert tokenizer.encode(text) == trainer.encode(text).ids
    assert 2 not in tokenizer.encode("the</s>")
    tokenizer.save(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert (saved["eos_token"], saved["bos_token"]) == ("</s>", "<s>")
    assert GPT2Tokenizer.from_directory(tmp_path / "again") == tokenizer


def test_the_advice_for_a_vocabulary_without_an_end_token_can_be_followed(tmp_path):
    own_vocabulary(tmp_path)
    with pytest.raises(
        ValueError, match=r'"eos_token" in a tokenizer_config\.json beside'
    ) as first:
        GPT2Tokenizer.from_directory(tmp_path)
    assert "add '<|endoftext|>' with id 273." in str(first.value)
    ids = json.loads((tmp_path / "vocab.json").read_text())
    assert len(ids) == 273
    config = tmp_path / "tokenizer_config.json"
    config.write_text('{"eos_token": "</s>"}')
    assert GPT2Tokenizer.from_directory(tmp_path).end_token_id == 2
    config.unlink()
    (tmp_path / "vocab.json").write_text(json.dumps(ids | {END: 273}))
    assert GPT2Tokenizer.from_directory(tmp_path).end_token_id == 273


def test_an_end_token_that_is_no_token_is_an_error(tmp_path):
    own_vocabulary(tmp_path, tokenizer_config={"eos_token": "<end>"})
    with pytest.raises(ValueError, match=r"has no special token '<end>' among its 273 tokens"):
        GPT2Tokenizer.from_directory(tmp_path)


def test_a_model_with_an_own_end_token_is_saved_for_transformers(tmp_path):
    from gpt2_keras import GPT2LM, GPT2Config

    own_vocabulary(tmp_path, tokenizer_config={"eos_token": "</s>"})
    tokenizer = GPT2Tokenizer.from_directory(tmp_path)
    config = GPT2Config(vocab_size=273, context_length=8, num_layers=1, num_heads=1, hidden_dim=4)
    save(GPT2LM(config, tokenizer), tmp_path / "model")
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "model" / name).read_text())["eos_token_id"] == 2
    assert GPT2LM.from_preset(tmp_path / "model").end_token_ids == (2,)


def test_tokens_named_in_the_config_alone_are_read_with_their_ids(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    ids = json.loads((tmp_path / "vocab.json").read_text())
    decoder = {str(ids.pop(name)): {"content": name, "special": True} for name in (USER, BOT)}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "tokenizer.json").unlink()
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"added_tokens_decoder": decoder}))
    assert GPT2Tokenizer.from_directory(tmp_path) == tokenizer


@pytest.mark.parametrize("flag", ["lstrip", "rstrip", "single_word"])
@pytest.mark.parametrize("in_config", [False, True])
def test_a_special_token_that_changes_the_text_beside_it_is_an_error(
    tokenizer, tmp_path, flag, in_config
):
    tokenizer.save(tmp_path)
    path = tmp_path / ("tokenizer_config.json" if in_config else "tokenizer.json")
    contents = json.loads(path.read_text())
    if in_config:
        contents["added_tokens_decoder"] = {"281": {"content": BOT, flag: True}}
    else:
        contents["added_tokens"][-1][flag] = True
    path.write_text(json.dumps(contents))
    message = rf"{path.name} has the special token '<\|bot\|>' with {flag}=true"
    with pytest.raises(ValueError, match=message):
        GPT2Tokenizer.from_directory(tmp_path)


def test_roles_and_the_chat_template_are_saved_again(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "a")
    path = tmp_path / "a" / "tokenizer_config.json"
    more = {"pad_token": BOT, "padding_side": "left", "model_max_length": 77}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    (tmp_path / "a" / "chat_template.jinja").write_text("{{ messages }}")
    GPT2Tokenizer.from_directory(tmp_path / "a").with_special_tokens(["<|z|>"]).save(tmp_path / "b")
    saved = json.loads((tmp_path / "b" / "tokenizer_config.json").read_text())
    assert more.items() <= saved.items()
    assert saved["chat_template"] == "{{ messages }}"


def test_a_template_that_is_no_text_is_an_error(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"chat_template\.jinja is not UTF-8 text"):
        GPT2Tokenizer.from_directory(tmp_path)
