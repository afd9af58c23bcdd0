"""The Beam pipeline against the preparation on one machine."""

import json
import random

import pytest

from gpt2_keras.data import PreparationOptions, TokenShards, prepare, rows
from gpt2_keras.tokenizer import GPT2Tokenizer

apache_beam = pytest.importorskip("apache_beam", reason="needs pip install 'gpt2-keras[beam]'")
pytestmark = pytest.mark.filterwarnings("ignore::Warning:apache_beam.*", "ignore::ResourceWarning")

WORDS = [f"{a}{b}" for a in "abcdefghij" for b in ("lo", "mi", "ne", "so", "ta")]


def documents():
    """Returns texts of which some come again, some nearly, and some are short or empty."""
    source = random.Random(0)  # noqa: S311 -- tests, no secrets
    texts = [" ".join(source.choices(WORDS, k=source.randint(0, 90))) for _ in range(60)]
    changed = [text.replace(text[:2], "X\r\n", 1) for text in texts[:20]]
    return [*texts, *texts[10:30], *changed, "é", "e\u0301", "\x07"]


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2Tokenizer.train(documents(), vocab_size=300)


@pytest.fixture
def files(tmp_path):
    """Files of every format."""
    import pyarrow
    from pyarrow import parquet

    texts = documents()
    paths = [tmp_path / name for name in ("a.jsonl", "b[1].txt", "c.parquet", "d.csv", "empty.txt")]
    paths[0].write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    paths[1].write_text("\r\n".join(texts) * 20, newline="")
    parquet.write_table(pyarrow.table({"text": texts[::-1]}), paths[2], row_group_size=17)
    paths[3].write_text("text\n" + "\n".join(text for text in texts[:9] if text) + "\n")
    paths[4].touch()
    return paths


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


ALL = {
    "clean": True,
    "nfc": True,
    "min_characters": 5,
    "deduplicate": "near",
    "validation_fraction": 0.3,
    "bpe_dropout": 0.1,
    "seed": 3,
}


@pytest.mark.parametrize(
    "options", [{}, {"deduplicate": "exact", "end_of_text": False}, ALL, {"shard_tokens": 10**9}]
)
def test_the_shards_are_those_of_one_machine_byte_for_byte(
    files, tokenizer, tmp_path, monkeypatch, options
):
    from gpt2_keras.data import prepare_with_beam
    from gpt2_keras.data.apache_beam import documents as beam_documents

    monkeypatch.setattr(rows, "PART_BYTES", 5000)
    monkeypatch.setattr(beam_documents, "_CHUNK_BYTES", 3000)
    options = PreparationOptions(**{"shard_tokens": 777, **options})
    prepare(files, tokenizer, tmp_path / "one", options)
    index = prepare_with_beam(files, tokenizer, tmp_path / "many", options)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    tokens = TokenShards.open(tmp_path / "many")
    assert tokens.index == index
    tokens.verify()


def test_what_is_wrong_with_the_input_is_said_as_on_one_machine(files, tokenizer, tmp_path, capfd):
    from gpt2_keras.data import prepare_with_beam

    files[0].write_text('{"text": "a"}\n{bad\n')
    kept = sorted(tmp_path.iterdir())
    errors = []
    for make in (prepare, prepare_with_beam):
        with pytest.raises(ValueError, match=r"a\.jsonl, line 2, is not JSON") as error:
            make(files, tokenizer, tmp_path / "out")
        errors.append(str(error.value))
    assert errors[0] == errors[1]
    assert "Traceback" not in capfd.readouterr().err
    with pytest.raises(ValueError, match=r"The 1 file\(s\) of the corpus are all empty"):
        prepare_with_beam(files[4:], tokenizer, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == kept


def test_a_bad_corpus_or_path_is_an_error(files, tokenizer, tmp_path):
    from gpt2_keras.data import prepare_with_beam

    with pytest.raises(TypeError, match=r"paths='a\.txt' is not a list of paths"):
        prepare_with_beam("a.txt", tokenizer, tmp_path / "out")
    with pytest.raises(ValueError, match=r"paths=\[\] is empty\."):
        prepare_with_beam([], tokenizer, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist\."):
        prepare_with_beam([*files, tmp_path / "nowhere"], tokenizer, tmp_path / "out")
    with pytest.raises(FileExistsError, match=r"is not empty \(it has 5 entries\)"):
        prepare_with_beam(files, tokenizer, tmp_path)


@pytest.fixture
def far(tmp_path):
    """A file system with addresses, kept in a folder: far://a/b is a/b there."""
    from apache_beam.io.localfilesystem import LocalFileSystem

    class FarFileSystem(LocalFileSystem):
        @classmethod
        def scheme(cls):
            return "far"

        def _here(self, path):
            return str(tmp_path / path.removeprefix("far://"))

        def open(self, path, *args, **options):
            return super().open(self._here(path), *args, **options)

        def create(self, path, *args, **options):
            local = tmp_path / path.removeprefix("far://")
            local.parent.mkdir(parents=True, exist_ok=True)
            return super().create(str(local), *args, **options)

        def match(self, patterns, limits=None):
            found = super().match([self._here(pattern) for pattern in patterns], limits)
            return list(found)

    yield FarFileSystem
    FarFileSystem.scheme = classmethod(lambda cls: "gone")


def test_files_and_shards_may_be_in_another_file_system(files, tokenizer, tmp_path, far):
    from gpt2_keras.data import prepare_with_beam

    prepare(files, tokenizer, tmp_path / "one")
    addresses = [f"far://{file.name}" for file in files]
    prepare_with_beam(addresses, tokenizer, "far://many/tokens")
    assert contents(tmp_path / "many" / "tokens") == contents(tmp_path / "one")
    with pytest.raises(FileExistsError, match=r"^far://many/tokens is not empty \(it has 2 entr"):
        prepare_with_beam(addresses, tokenizer, "far://many/tokens")


@pytest.mark.slow
def test_several_processes_make_the_same_shards(files, tokenizer, tmp_path):
    from gpt2_keras.data import prepare_with_beam

    options = PreparationOptions(shard_tokens=777, **ALL)
    prepare(files, tokenizer, tmp_path / "one", options)
    words = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    prepare_with_beam(files, tokenizer, tmp_path / "many", options, beam_options=words)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
