"""The host tokenizer equals tiktoken, and gives every text back."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.byte_alphabet import bytes_to_unicode
from gpt2_keras.tokenizer.vocabulary import Vocabulary

END = "<|endoftext|>"
# Where splitting is delicate: contractions, runs of white space, the end of the text, and
# characters of several classes.
DELICATE = st.lists(
    st.sampled_from(
        [
            *(" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u0085", "\u200b", "\ufeff"),
            *("'", "'s", "'S", "'ll", "'re", "’s", "a", "the", "É", "é", "ß", "中", "ก็", "א"),
            *("1", "½", "²", "٣", "!", "--", "_", "\x00", "\x1c", "\x7f", "🐢", "👩‍💻"),
            *(END, "<|", "\ud800"),
        ]
    ),
    max_size=12,
).map("".join)


@pytest.fixture(scope="module")
def gpt2(gpt2_files: Path) -> GPT2Tokenizer:
    return GPT2Tokenizer.from_directory(gpt2_files)


@pytest.fixture(scope="module")
def small() -> GPT2Tokenizer:
    return GPT2Tokenizer.train(["low lower lowest slow slower newest"] * 2, vocab_size=270)


def test_ids_equal_those_of_tiktoken_on_real_text(gpt2, openai, text_files):
    paths = sorted(text_files.glob("*.txt"))
    assert len(paths) >= 2
    for path in paths:
        text = path.read_bytes().decode()
        ids = gpt2.encode(text)
        assert ids == openai.encode_ordinary(text)
        assert gpt2.decode(ids) == text


@settings(deadline=None, max_examples=400)
@given(text=st.text(max_size=60) | DELICATE)
def test_ids_equal_those_of_tiktoken_on_any_unicode(gpt2, openai, text):
    assert gpt2.encode(text) == openai.encode_ordinary(text)


@pytest.mark.slow
def test_every_character_is_split_as_tiktoken_splits_it(gpt2, openai):
    for code in range(0x110000):
        c = chr(code)
        text = f"a{c}1{c} {c}{c}!{c}a {c}"
        assert gpt2.encode(text) == openai.encode_ordinary(text), hex(code)


@settings(deadline=None, max_examples=200)
@given(text=DELICATE, allow=st.booleans())
def test_special_tokens_in_text_are_treated_as_by_tiktoken(gpt2, openai, text, allow):
    allowed = "all" if allow else set()
    expected = openai.encode(text, allowed_special=allowed, disallowed_special=())
    assert gpt2.encode(text, allowed_special=allowed) == expected


def test_known_ids(gpt2):
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.decode([15496, 995]) == "Hello world"
    assert (gpt2.vocab_size, len(gpt2), gpt2.end_token_id) == (50257, 50257, 50256)


def test_end_of_text_is_plain_text_unless_allowed(gpt2):
    assert gpt2.end_token_id not in gpt2.encode(f"a{END}b")
    assert gpt2.encode(f"a{END}b", allowed_special={END}) == [64, 50256, 65]
    assert gpt2.encode(END + END, allowed_special="all") == [50256, 50256]
    assert gpt2.decode([64, 50256, 65]) == f"a{END}b"


def test_the_longest_special_token_is_found_first():
    characters = bytes_to_unicode().values()
    ids = {token: i for i, token in enumerate([*characters, "<|a|>", "<|a|>b", END])}
    tokenizer = GPT2Tokenizer(Vocabulary(ids, [], ("<|a|>", "<|a|>b", END)))
    assert tokenizer.encode("<|a|>b<|a|>", allowed_special="all") == [257, 256]
    assert tokenizer.encode("<|a|>b", allowed_special=["<|a|>"]) == [256, 65]
    assert tokenizer.special_tokens == {"<|a|>": 256, "<|a|>b": 257, END: 258}


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_decoding_gives_the_text_back(small, text):
    assert small.decode(small.encode(text)) == text
    assert small.decode_bytes(small.encode(text)) == text.encode()


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 269)))
def test_any_ids_decode_to_the_bytes_of_their_tokens(small, ids):
    raw = b"".join(small.token_bytes[i] for i in ids)
    assert small.decode_bytes(ids) == raw
    assert small.decode(ids) == raw.decode(errors="replace")


def test_lone_surrogates_are_replaced_and_pairs_joined(gpt2, openai):
    assert gpt2.decode(gpt2.encode("a\ud800b")) == "a\ufffdb"
    assert gpt2.decode(gpt2.encode("\ud83d\udc22")) == "🐢"
    assert gpt2.encode("x\udc22") == openai.encode("x\udc22")


def test_a_batch_is_encoded_and_decoded_row_by_row(small):
    texts = ["low", "", "slower 🐢"]
    rows = small.encode(texts)
    assert rows == [small.encode(text) for text in texts]
    assert small.decode(rows) == texts
    assert small.decode_bytes(rows) == [text.encode() for text in texts]
    assert small.encode([]) == []
    assert small.encode("") == []
    assert small.decode([]) == ""
    assert small.decode([[], []]) == ["", ""]


def test_ids_come_in_arrays_and_tensors_too(small):
    tf = pytest.importorskip("tensorflow")
    ids = small.encode("slow")
    for same in (np.array(ids), np.array(ids, np.uint16), tf.constant(ids), tuple(ids)):
        assert small.decode(same) == "slow"
    assert small.decode(np.array([ids, ids])) == ["slow", "slow"]
    assert small.decode(list(np.array(ids))) == "slow"
    assert small.decode([np.array(ids)]) == ["slow"]


def test_a_megabyte_is_encoded_at_once(gpt2):
    for text in ("a" * 1_000_000, " " * 1_000_000):
        assert gpt2.decode(gpt2.encode(text)) == text


def test_the_merges_of_gpt2_give_the_ids_after_the_bytes(gpt2):
    tokens = gpt2.token_bytes
    merged = [tokens[left] + tokens[right] for left, right in gpt2.merges]
    assert tokens[256:-1] == merged


def test_saved_files_give_the_same_tokenizer(small, tmp_path):
    small.save(tmp_path, model_max_length=64)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "merges.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    assert GPT2Tokenizer.from_directory(tmp_path) == small
    (tmp_path / "vocab.json").unlink()
    assert GPT2Tokenizer.from_directory(tmp_path) == small  # of tokenizer.json alone
    assert '"model_max_length": 64' in (tmp_path / "tokenizer_config.json").read_text()


def test_saving_gpt2_gives_the_merges_that_openai_published(gpt2, gpt2_files, tmp_path):
    gpt2.save(tmp_path)
    assert (tmp_path / "merges.txt").read_bytes() == (gpt2_files / "vocab.bpe").read_bytes()
    assert GPT2Tokenizer.from_directory(tmp_path) == gpt2
    assert "model_max_length" not in (tmp_path / "tokenizer_config.json").read_text()


def test_the_tokenizers_library_reads_the_saved_file(small, tmp_path):
    small.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = f"slow 🐢 lower{END}"
    assert theirs.encode(text).ids == small.encode(text, allowed_special="all")
    assert theirs.decode(small.encode("slow 🐢"), skip_special_tokens=False) == "slow 🐢"


def test_special_tokens_of_a_user_are_kept_by_saving(tmp_path):
    characters = bytes_to_unicode().values()
    ids = {token: i for i, token in enumerate([*characters, END, "<pad>"])}
    tokenizer = GPT2Tokenizer(Vocabulary(ids, [], (END, "<pad>")))
    tokenizer.save(tmp_path)
    assert GPT2Tokenizer.from_directory(tmp_path) == tokenizer
    assert tokenizer.token_bytes[257] == b"<pad>"
    assert tokenizer.encode("<pad>") == [257]
    assert 257 not in tokenizer.encode("<pad>", allowed_special="none")


def test_tokenizers_are_equal_when_their_vocabularies_are(small):
    same = pickle.loads(pickle.dumps(small))  # noqa: S301 -- our own bytes
    other = GPT2Tokenizer.train(["other text, other pairs of other letters"] * 2, vocab_size=270)
    assert same == small
    assert hash(same) == hash(small)
    assert same.encode("slower") == small.encode("slower")
    assert other != small
    assert other.fingerprint != small.fingerprint
    assert small != "a tokenizer"
    assert repr(small) == "GPT2Tokenizer(vocab_size=270)"


def test_properties_are_copies(small):
    small.token_bytes.clear()
    small.special_tokens.clear()
    small.merges.clear()
    assert small.vocab_size == 270
    assert small.end_token_id == 269
    assert len(small.merges) == 13


def test_tensorflow_is_not_imported():
    code = (
        "import sys; from gpt2_keras.tokenizer import GPT2Tokenizer;"
        "t = GPT2Tokenizer.train(['ab ab'], 258); t.decode(t.encode('ab'));"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"tokenizer' has no attribute 'Nothing'"):
        __import__("gpt2_keras.tokenizer", fromlist=["x"]).Nothing  # noqa: B018


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([0, -1], ValueError, r"^ids\[1\]=-1 is less than 0\. Use an integer from 0 to 269\."),
        ([270], ValueError, r"^ids\[0\]=270 is greater than 269\. .* the tokenizer that made the"),
        ([10**12], ValueError, r"^ids\[0\]=1000000000000 is greater than 269\."),
        ([[0], [1, 270]], ValueError, r"^ids\[1\]\[1\]=270 is greater than 269\."),
        (np.array([270]), ValueError, r"^ids\[0\]=270 is greater"),
        ([1.5], TypeError, r"^ids\[0\]=1\.5 is a float\."),
        ([float("nan")], TypeError, r"^ids\[0\]=nan is a float\."),
        ([True], TypeError, r"^ids\[0\]=True is a bool\."),
        ([np.float32(1)], TypeError, r"^ids\[0\]=1\.0 is a float\."),
        (["a"], TypeError, r"^ids\[0\]='a' is a str\."),
        (3, TypeError, r"^ids=3 is no sequence of token ids\. Use a list of them, for example"),
        ("abc", TypeError, r"^ids='abc' is no sequence of token ids\."),
        (None, TypeError, r"^ids=None is no sequence of token ids\."),
        (np.int64(3), TypeError, r"^ids=3 is no sequence of token ids\."),
    ],
)
def test_what_is_no_id_of_the_vocabulary_is_an_error(small, bad, error, message):
    with pytest.raises(error, match=message):
        small.decode(bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"abc", r"^text=b'abc' is a bytes\. Use a str or a list of them\. Decode bytes first\."),
        (b"", r"^text=b'' is a bytes\."),
        (3, r"^text=3 is an int\. Use a str or a list of them\."),
        (None, r"^text is None\."),
        (["a", b"b"], r"^text\[1\]=b'b' is a bytes\. Use a str\."),
    ],
)
def test_what_is_no_text_is_an_error(small, bad, message):
    with pytest.raises(TypeError, match=message):
        small.encode(bad)


def test_a_pre_token_is_encoded_alone(small):
    assert small.encode_pre_token(" slower") == small.encode(" slower")
    with pytest.raises(TypeError, match=r"^pre_token=3 is an int\. Use a str\."):
        small.encode_pre_token(3)


@pytest.mark.parametrize("bad", [["<pad>"], END, {"<|endoftext|>", ""}])
def test_an_unknown_special_token_is_an_error(small, bad):
    with pytest.raises(ValueError, match=r"^allowed_special.* there are \['<\|endoftext\|>'\]\."):
        small.encode("text", allowed_special=bad)


def test_a_tokenizer_is_made_of_a_vocabulary():
    with pytest.raises(TypeError, match=r"^vocabulary='gpt2' is a str\. Use a Vocabulary\."):
        GPT2Tokenizer("gpt2")


def test_special_tokens_are_added(small):
    larger = small.with_special_tokens(["<|user|>"])
    assert larger.special_tokens == {END: 269, "<|user|>": 270}
    assert larger.encode("low<|user|>", allowed_special="all")[-1] == 270
