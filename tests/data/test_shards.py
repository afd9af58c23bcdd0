"""Token shards: written, checked, mapped, sliced."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.data import PreparationOptions, TokenShards, prepare
from gpt2_keras.data import text_files as text_module
from gpt2_keras.data.shards import TokenView, split_tokens
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.byte_alphabet import bytes_to_unicode
from gpt2_keras.tokenizer.vocabulary import END_OF_TEXT, Vocabulary

TEXT = "It was the best of times, it was the worst of times.\n" * 20


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2Tokenizer.train([TEXT], vocab_size=270)


@pytest.fixture
def files(tmp_path):
    """Two files of text, and an empty one between."""
    paths = [tmp_path / name for name in ("a.txt", "empty.txt", "b.txt")]
    for path, text in zip(paths, (TEXT, "", "The end."), strict=True):
        path.write_text(text)
    return paths


@pytest.fixture
def expected(tokenizer):
    """The ids of the two files."""
    end = tokenizer.end_token_id
    return [*tokenizer.encode(TEXT), end, *tokenizer.encode("The end."), end]


def test_shards_hold_the_ids_of_the_texts(files, tokenizer, expected, tmp_path):
    for shard_tokens in (1, 7, 100, len(expected), 10**9):
        out = tmp_path / f"shards-{shard_tokens}"
        tokens = prepare(files, tokenizer, out, PreparationOptions(shard_tokens=shard_tokens))
        assert tokens[:].tolist() == expected
        assert len(tokens) == len(expected)
        assert len(list(out.glob("tokens-*.bin"))) == -(-len(expected) // shard_tokens)
        tokens.verify()


def test_ids_are_those_of_the_whole_files_whatever_the_block(
    files, tokenizer, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 13)
    assert prepare(files, tokenizer, tmp_path / "out")[:].tolist() == expected


def test_documents_may_go_without_an_end(files, tokenizer, tmp_path):
    tokens = prepare(files, tokenizer, tmp_path / "out", PreparationOptions(end_of_text=False))
    assert tokens[:].tolist() == tokenizer.encode(TEXT) + tokenizer.encode("The end.")
    assert tokens.index["end_of_text"] is False


def test_end_of_text_in_a_file_is_plain_text(tokenizer, tmp_path):
    (tmp_path / "a").write_text(END_OF_TEXT)
    options = PreparationOptions(end_of_text=False)
    tokens = prepare([tmp_path / "a"], tokenizer, tmp_path / "out", options)
    assert tokenizer.end_token_id not in tokens[:]


def test_the_format_is_as_documented(files, tokenizer, expected, tmp_path):
    out = tmp_path / "deep" / "out"
    prepare(files, tokenizer, out, PreparationOptions(shard_tokens=200))
    index = json.loads((out / "index.json").read_text())
    assert {key: index[key] for key in ("format", "version", "dtype", "vocab_size")} == {
        "format": "gpt2_keras.token_shards",
        "version": 1,
        "dtype": "uint16",
        "vocab_size": 270,
    }
    assert index["num_tokens"] == len(expected)
    assert index["tokenizer"] == tokenizer.fingerprint
    assert index["sources"][2] == {"file": "b.txt", "bytes": 8}
    assert [shard["num_tokens"] for shard in index["shards"][:-1]] == [200] * (
        len(index["shards"]) - 1
    )
    raw = b"".join((out / shard["file"]).read_bytes() for shard in index["shards"])
    assert np.frombuffer(raw, "<u2").tolist() == expected
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]


def test_a_large_vocabulary_takes_four_bytes(tmp_path):
    characters = list(bytes_to_unicode().values())
    pairs = [(a, b) for a in characters for b in characters]
    tokens = [*characters, *(a + b for a, b in pairs), END_OF_TEXT]
    tokenizer = GPT2Tokenizer(Vocabulary({token: i for i, token in enumerate(tokens)}, pairs))
    (tmp_path / "a").write_bytes("ÿÿ".encode())
    shards = prepare([tmp_path / "a"], tokenizer, tmp_path / "out")
    assert shards.index["dtype"] == "uint32"
    assert shards[:].tolist() == [*tokenizer.encode("ÿÿ"), 65792]


@settings(deadline=None)
@given(data=st.data())
def test_slices_are_those_of_one_array(data):
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    whole = np.arange(sum(sizes), dtype=np.uint16)
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    tokens = TokenShards("nowhere", {}, parts)
    position = st.none() | st.integers(-30, 30)
    key = slice(data.draw(position), data.draw(position))
    view = TokenView(tokens, 1, len(whole))
    assert tokens[key].tolist() == whole[key].tolist()
    assert view[key].tolist() == whole[1:][key].tolist()
    assert len(view) == len(whole) - 1


def test_the_last_part_validates(files, tokenizer, expected, tmp_path):
    train, validation = prepare(files, tokenizer, tmp_path / "out").split(0.1)
    assert len(train) == int(len(expected) * 0.9)
    assert [*train[:], *validation[:]] == expected
    again, _ = split_tokens(train, 0.5)  # a part is a source of tokens as well
    assert again[:].tolist() == expected[: len(train) // 2]


def test_nothing_of_the_corpus_is_in_memory(files, tokenizer, tmp_path):
    tokens = prepare(files, tokenizer, tmp_path / "out")
    assert isinstance(tokens[:].base.base, np.memmap) or isinstance(tokens[:].base, np.memmap)
    assert not tokens[:].flags.writeable


def test_tensorflow_is_not_imported():
    code = (
        "import sys; from gpt2_keras.data import prepare, read_texts, TokenShards;"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_opened_shards_say_what_they_are(files, tokenizer, tmp_path):
    prepare(files, tokenizer, tmp_path / "out")
    tokens = TokenShards.open(tmp_path / "out")
    assert (tokens.vocab_size, tokens.fingerprint) == (270, tokenizer.fingerprint)
    assert repr(tokens) == f"TokenShards({str(tmp_path / 'out')!r}, {len(tokens)} tokens)"
    assert repr(tokens.split(0.5)[0]).startswith("TokenView(TokenShards(")


def test_progress_ends_with_all_bytes(files, tokenizer, tmp_path):
    calls = []
    prepare(files, tokenizer, tmp_path / "out", on_progress=lambda *call: calls.append(call))
    assert calls[-1] == (len(TEXT) + 8, len(TEXT) + 8)
    assert calls == sorted(calls)


def test_an_empty_directory_is_filled(files, tokenizer, tmp_path):
    (tmp_path / "out").mkdir()
    prepare(files, tokenizer, tmp_path / "out")
    assert (tmp_path / "out" / "index.json").exists()


@pytest.mark.parametrize(
    ("kept", "error", "message"),
    [
        ("out/keep.txt", FileExistsError, r"out is not empty \(it has 1 entries\), .*Name a new"),
        ("out", NotADirectoryError, r"out is a file\. Name a new"),
    ],
)
def test_what_is_there_is_left_alone(files, tokenizer, tmp_path, kept, error, message):
    out, keep = tmp_path / "out", tmp_path / kept
    keep.parent.mkdir(exist_ok=True)
    keep.write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=message):
        prepare(files, tokenizer, out)
    assert sorted(tmp_path.rglob("*")) == before
    assert keep.read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_failure_leaves_nothing(files, tokenizer, tmp_path, error):
    def fail(done, total):
        raise error

    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error):
        prepare(files, tokenizer, tmp_path / "out", on_progress=fail)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_named_and_leaves_nothing(files, tokenizer, tmp_path):
    resource = pytest.importorskip("resource", reason="a limit on the size of files needs POSIX")
    before = sorted(tmp_path.rglob("*"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))  # no file beyond 64 bytes
    try:
        with pytest.raises(
            OSError, match=r"could not be written, and nothing was kept\. .*tokens-00000\.bin"
        ):
            prepare(files, tokenizer, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("bad", [0, -5])
def test_shards_without_a_token_are_an_error(files, tokenizer, tmp_path, bad):
    with pytest.raises(ValueError, match=rf"^shard_tokens={bad} is less than 1\."):
        prepare(files, tokenizer, tmp_path / "out", PreparationOptions(shard_tokens=bad))


def test_a_bad_corpus_is_an_error_and_leaves_nothing(files, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="all empty"):
        prepare(files[1:2], tokenizer, tmp_path / "out")
    files[2].write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"b\.txt has byte 0xff at offset 0,"):
        prepare(files, tokenizer, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_a_truncated_shard_is_an_error(files, tokenizer, expected, tmp_path):
    prepare(files, tokenizer, tmp_path / "out", PreparationOptions(shard_tokens=100))
    shard = tmp_path / "out" / "tokens-00001.bin"
    shard.write_bytes(shard.read_bytes()[:-3])
    with pytest.raises(
        ValueError, match=r"tokens-00001\.bin has 197 bytes, and index\.json records 200:"
    ):
        TokenShards.open(tmp_path / "out")
    shard.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"tokens-00001\.bin does not exist, and index\.json lists it\."
    ):
        TokenShards.open(tmp_path / "out")


def test_a_changed_shard_is_found_by_its_hash(files, tokenizer, tmp_path):
    tokens = prepare(files, tokenizer, tmp_path / "out")
    shard = tmp_path / "out" / "tokens-00000.bin"
    expected = tokens.index["shards"][0]["sha256"]
    shard.write_bytes(b"\x07" + shard.read_bytes()[1:])
    with pytest.raises(
        ValueError, match=rf"tokens-00000\.bin has the SHA-256 [0-9a-f]+, .* records {expected}:"
    ):
        TokenShards.open(tmp_path / "out").verify()


def test_a_directory_without_an_index_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r" has no index\.json\. Name a directory"):
        TokenShards.open(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a directory\."):
        TokenShards.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"has format 'gpt2_keras\.token_shards', version 2, dtype"),
        ({"format": "other"}, r"has format 'other', version 1"),
        ({"dtype": "float32"}, r"dtype 'float32'"),
        ({"num_tokens": 5}, r"num_tokens 5 with \d\d\d? in the shards"),
        ({"shards": None}, r"is not an index of token shards \(TypeError"),
        ({"shards": [{"file": "x"}]}, r"is not an index .*\(KeyError: 'num_tokens'\)"),
    ],
)
def test_a_damaged_index_is_an_error(files, tokenizer, tmp_path, change, message):
    prepare(files, tokenizer, tmp_path / "out")
    path = tmp_path / "out" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        TokenShards.open(tmp_path / "out")
    path.write_text(path.read_text()[:30])
    with pytest.raises(ValueError, match=r"is not an index of token shards \(JSONDecodeError"):
        TokenShards.open(tmp_path / "out")


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (0, "is not above 0"),
        (1, "is not below 1"),
        (-0.5, "is not above 0"),
        (float("nan"), "is not finite"),
        (0.9, "of 3 tokens leaves a part empty"),
    ],
)
def test_a_split_that_leaves_nothing_is_an_error(bad, found):
    with pytest.raises(ValueError, match=rf"^validation_fraction={bad} {found}\."):
        split_tokens(np.arange(3), bad)


@pytest.mark.parametrize("bad", [3, slice(0, 4, 2), "a"])
def test_an_index_that_is_no_plain_slice_is_an_error(bad):
    tokens = TokenShards("nowhere", {}, [np.arange(5)])
    with pytest.raises(TypeError, match=r"^tokens\[.*\] is not a slice without a step\."):
        tokens[bad]
