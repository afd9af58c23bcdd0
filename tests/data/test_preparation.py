"""Documents cleaned, compared, split: what `prepare` does if asked to."""

import json
import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.data import PreparationOptions, TokenShards, prepare, text_files
from gpt2_keras.data.cleaning import clean_text
from gpt2_keras.data.near_duplicates import near_fingerprints
from gpt2_keras.data.selection import digest_of, is_for_validation
from gpt2_keras.tokenizer import GPT2Tokenizer

WORDS = [f"{a}{b}" for a in "abcdefghij" for b in ("lo", "mi", "ne", "so", "ta")]


def random_document(seed, num_words=120):
    return " ".join(random.Random(seed).choices(WORDS, k=num_words))  # noqa: S311


DOCUMENTS = [random_document(seed) for seed in range(30)]


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2Tokenizer.train(DOCUMENTS, vocab_size=300)


@pytest.fixture
def prepared(tokenizer, tmp_path):
    """Prepares documents as rows; returns the shards."""
    made = iter(range(100))

    def make(documents, **options):
        file, number = tmp_path / "rows.jsonl", next(made)
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
        return prepare([file], tokenizer, tmp_path / str(number), PreparationOptions(**options))

    return make


def documents_of(tokens, tokenizer):
    """Returns the texts between the ends."""
    text = tokenizer.decode(tokens[:].tolist())
    return text.split("<|endoftext|>")[:-1]


def test_nothing_is_changed_unless_asked_for(prepared, tokenizer):
    documents = ["a\r\nb\x07", "e\u0301", "a", "a", " "]
    assert documents_of(prepared(documents), tokenizer) == documents


def test_a_document_that_came_before_is_left_out(prepared, tokenizer):
    documents = [*DOCUMENTS[:3], DOCUMENTS[1], "x", "x", DOCUMENTS[2] + "!", "x"]
    tokens = prepared(documents, deduplicate="exact")
    assert documents_of(tokens, tokenizer) == [*DOCUMENTS[:3], "x", DOCUMENTS[2] + "!"]
    found = tokens.index["documents"]
    assert found == {"training": 5, "validation": 0, "duplicates": 3, "short": 0}
    assert not list(tokens.directory.glob("*.sqlite"))


def test_documents_are_compared_as_cleaned(prepared, tokenizer):
    tokens = prepared(["a\r\nb", "a\nb"], deduplicate="exact", clean=True)
    assert documents_of(tokens, tokenizer) == ["a\nb"]


def test_one_that_is_nearly_another_is_left_out(prepared, tokenizer):
    changed = [text[:100] + "XYZ" + text[103:] for text in DOCUMENTS]
    tokens = prepared([*DOCUMENTS, *changed], deduplicate="near")
    assert documents_of(tokens, tokenizer) == DOCUMENTS
    assert documents_of(prepared([*changed[:5], *DOCUMENTS[5:]]), tokenizer)[4] == changed[4]


def test_near_fingerprints_meet_as_often_as_their_formula_says():
    probabilities, met = [], []
    for seed in range(300):
        text = random_document(seed, 60)
        keep = random.Random(seed).randint(len(text) // 2, len(text))  # noqa: S311
        other = text[:keep] + random_document(seed + 1000, 60)[keep:]
        sets = [{one[i : i + 10] for i in range(len(one) - 9)} for one in (text, other)]
        similarity = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        probabilities.append(1 - (1 - similarity**8) ** 14)
        met.append(bool(set(near_fingerprints([text])) & set(near_fingerprints([other]))))
    # A mean of 300 samples: three standard errors are at most 0.087.
    assert abs(np.mean(probabilities) - np.mean(met)) < 0.087
    assert 0.2 < np.mean(met) < 0.8


@given(text=st.text(max_size=40), split=st.integers(0, 40))
def test_near_fingerprints_do_not_depend_on_the_chunks(text, split):
    chunks = [text[:split], text[split:]]
    assert near_fingerprints(chunks) == near_fingerprints([text])
    assert digest_of(chunks) == digest_of([text])


def test_a_short_document_is_left_out(prepared, tokenizer):
    tokens = prepared(["1234", "12345", "", "\x07" * 9, "1234567"], min_characters=5, clean=True)
    assert documents_of(tokens, tokenizer) == ["12345", "1234567"]
    assert tokens.index["documents"]["short"] == 3


def test_cleaning_makes_line_ends_one_and_drops_controls():
    lines = "a\r\nb\rc\vd\fe\x85f\u2028g\u2029h\n\ti"
    assert clean_text(lines) == "a\nb\nc\nd\ne\nf\ng\nh\n\ti"
    assert clean_text("\0a\x1b[0m\x7f\x9f\u200d\ufeff") == "a[0m\u200d\ufeff"
    assert clean_text("e\u0301\r", clean=False, nfc=True) == "é\r"


MIXED = [
    " ",
    "\r\n",
    "\r",
    "\n",
    "a",
    "e\u0301",
    "1",
    "\u0301",
    "!",
    "中。",
    "\u3000",
    "\x07",
    "x ",
]


@settings(deadline=None, max_examples=60)
@given(parts=st.lists(st.sampled_from(MIXED), min_size=1, max_size=40), block=st.integers(1, 9))
def test_a_text_file_is_cleaned_as_if_read_whole(tokenizer, tmp_path_factory, parts, block):
    text = "x" + "".join(parts)
    expected = unicodedata.normalize("NFC", clean_text(text))
    folder = tmp_path_factory.mktemp("clean")
    (folder / "a.txt").write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "BLOCK_BYTES", block)
        patch.setattr(text_files, "_TAIL", 8)
        options = PreparationOptions(clean=True, nfc=True, deduplicate="exact")
        tokens = prepare([folder / "a.txt"], tokenizer, folder / "out", options)
    assert tokens[:].tolist() == [*tokenizer.encode(expected), tokenizer.end_token_id]


def test_a_document_stays_on_its_side(prepared, tokenizer):
    one = prepared(DOCUMENTS, validation_fraction=0.3, shard_tokens=500)
    training, validation = one.split()
    sides = documents_of(training, tokenizer), documents_of(validation, tokenizer)
    assert sorted(sides[0] + sides[1]) == sorted(DOCUMENTS)
    assert sides[1] == [text for text in DOCUMENTS if is_for_validation(digest_of([text]), 0.3)]
    other = prepared(DOCUMENTS[::-2], validation_fraction=0.3).split()[1]
    assert documents_of(other, tokenizer) == [d for d in DOCUMENTS[::-2] if d in sides[1]]
    larger = prepared(DOCUMENTS, validation_fraction=0.6).split()[1]
    assert set(sides[1]) < set(documents_of(larger, tokenizer))


def test_the_fraction_of_a_split_is_the_one_asked_for():
    chosen = [is_for_validation(digest_of([str(number)]), 0.1) for number in range(4000)]
    assert abs(np.mean(chosen) - 0.1) < 0.015  # three standard errors


def test_the_sides_are_files_of_their_own(prepared):
    tokens = prepared(DOCUMENTS, validation_fraction=0.3, shard_tokens=1000)
    names = [shard["file"] for shard in tokens.index["shards"]]
    assert names == sorted(names)
    assert {name.split("-")[0] for name in names} == {"tokens", "validation"}
    training = tokens.index["split"]["num_training_tokens"]
    sizes = [s["num_tokens"] for s in tokens.index["shards"] if s["file"].startswith("tokens")]
    assert sum(sizes) == training == len(tokens.split()[0])
    tokens.verify()


def test_a_corpus_is_split_once(prepared):
    tokens = prepared(DOCUMENTS, validation_fraction=0.3)
    with pytest.raises(
        ValueError, match=r"^validation_fraction=0\.1 cannot split .*validation_fraction=0\.3\. "
    ):
        tokens.split(0.1)
    plain = prepared(DOCUMENTS)
    assert len(plain.split()[1]) == len(plain.split(0.1)[1])


def test_a_damaged_split_is_an_error(prepared):
    tokens = prepared(DOCUMENTS, validation_fraction=0.3)
    path = tokens.directory / "index.json"
    split = {"split": {"num_training_tokens": len(tokens) + 1}}
    path.write_text(json.dumps({**tokens.index, **split}))
    with pytest.raises(ValueError, match="or lacks a field"):
        TokenShards.open(tokens.directory)


def test_dropped_merges_decode_to_the_same_texts(prepared, tokenizer):
    plain = prepared(DOCUMENTS)
    dropped = [prepared(DOCUMENTS, bpe_dropout=0.2, seed=seed) for seed in (1, 1, 2)]
    assert all(documents_of(tokens, tokenizer) == DOCUMENTS for tokens in dropped)
    assert len(dropped[0]) > len(plain) * 1.1
    first, again, other = (tokens[:].tolist() for tokens in dropped)
    assert first == again != other


def test_dropped_merges_do_not_depend_on_the_block(tokenizer, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(DOCUMENTS[0])
    options = PreparationOptions(bpe_dropout=0.3)
    whole = prepare([tmp_path / "a.txt"], tokenizer, tmp_path / "1", options)[:].tolist()
    monkeypatch.setattr(text_files, "BLOCK_BYTES", 13)
    assert prepare([tmp_path / "a.txt"], tokenizer, tmp_path / "2", options)[:].tolist() == whole


def test_the_index_says_how_it_was_made(prepared):
    index = prepared(DOCUMENTS, nfc=True, deduplicate="near", bpe_dropout=0.1, seed=7).index
    assert index["options"] == {
        "input_format": None,
        "text_field": None,
        "clean": False,
        "nfc": True,
        "min_characters": 0,
        "deduplicate": "near",
        "bpe_dropout": 0.1,
        "seed": 7,
        "special_tokens": None,
    }


def test_a_side_without_documents_is_an_error(prepared, tmp_path):
    message = r"^validation_fraction=0\.001 leaves 1 document\(s\) to train on and 0 to validate"
    with pytest.raises(ValueError, match=message):
        prepared(["only one"], validation_fraction=0.001)
    assert not (tmp_path / "0").exists()


def test_a_corpus_of_short_documents_is_an_error(prepared):
    with pytest.raises(ValueError, match=r"^min_characters=9 leaves out all 2 document\(s\)"):
        prepared(["one", "two"], min_characters=9)


def test_a_full_disk_is_named(prepared):
    resource = pytest.importorskip("resource", reason="a limit on the size of files needs POSIX")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        with pytest.raises(OSError, match=r"seen\.sqlite cannot be written \(disk I/O"):
            prepared(["one", "two"], deduplicate="exact")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_tokens": 0}, r"^shard_tokens=0 is less than 1\."),
        ({"min_characters": -1}, r"^min_characters=-1 is less than 0\."),
        ({"bpe_dropout": 1.5}, r"^bpe_dropout=1\.5 is not at most 1\."),
        ({"bpe_dropout": float("nan")}, r"^bpe_dropout=nan is not finite\."),
        ({"seed": 2**31}, r"^seed=2147483648 is greater than 2147483647\."),
        ({"validation_fraction": 1.0}, r"^validation_fraction=1\.0 is not below 1\."),
        (
            {"deduplicate": "fuzzy"},
            r"^deduplicate='fuzzy' is unknown\. Use one of 'exact', 'near'\.",
        ),
        ({"input_format": "xml"}, r"^input_format='xml' is unknown\."),
    ],
)
def test_options_out_of_their_range_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        PreparationOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_tokens": True}, r"^shard_tokens=True is a bool\. Use an integer "),
        ({"min_characters": 2.5}, r"^min_characters=2\.5 is a float\. Use an integer "),
        ({"seed": float("nan")}, r"^seed=nan is a float\. Use an integer "),
        ({"bpe_dropout": True}, r"^bpe_dropout=True is a bool\. Use a number "),
        ({"validation_fraction": "0.1"}, r"^validation_fraction='0\.1' is a str\. Use a number "),
        ({"clean": 1}, r"^clean=1 is an int\. Use True or False\."),
        ({"text_field": 3}, r"^text_field=3 is an int\. Use a str\."),
        ({"deduplicate": True}, r"^deduplicate=True is a bool\. Use one of 'exact', 'near'\."),
    ],
)
def test_options_of_a_wrong_type_are_an_error(options, message):
    with pytest.raises(TypeError, match=message):
        PreparationOptions(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": 3}, r"^paths=3 is not a list of paths\."),
        ({"paths": [True]}, r"^paths\[0\]=True is a bool\. Use a path\."),
        ({"tokenizer": "gpt2"}, r"^tokenizer='gpt2' is a str\. Use a GPT2Tokenizer\."),
        ({"out_dir": 3}, r"^out_dir=3 is an int\. Use a path\."),
        ({"options": {"clean": True}}, r"^options=.* is a dict\. Use PreparationOptions\."),
        ({"on_progress": 1}, r"^on_progress=1 cannot be called\. Use a function of two integers"),
    ],
)
def test_an_argument_of_a_wrong_type_is_an_error_before_any_work(
    tokenizer, tmp_path, change, message
):
    file = tmp_path / "a.txt"
    file.write_text("text")
    arguments = {"paths": [file], "tokenizer": tokenizer, "out_dir": tmp_path / "out"}
    with pytest.raises(TypeError, match=message):
        prepare(**{**arguments, **change})
    assert list(tmp_path.iterdir()) == [file]
