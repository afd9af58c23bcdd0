"""Reading text files in chunks."""

import bz2
import gzip
import lzma
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.data import read_texts
from gpt2_keras.data import text_files as text_module
from gpt2_keras.tokenizer import GPT2Tokenizer

# Joined at random they make every pair of character classes that a split could change the ids of.
PARTS = [
    *(" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u3000", "\u00a0", "\u0085", "\x1c", "\u200b"),
    *("'", "'s", "'ll", "'r", "e", "s", "ab", "É", "中", "中。", "あ、", "1", "23", "½", "٣"),
    *("!", "--", "_", "€", "🐢", "\u0301", "\U0001fae0", "\U00011f02"),
]


@pytest.fixture(scope="module")
def gpt2(gpt2_files):
    return GPT2Tokenizer.from_directory(gpt2_files)


@settings(deadline=None, max_examples=500)
@given(parts=st.lists(st.sampled_from(PARTS) | st.text(max_size=2), max_size=14))
def test_a_split_at_a_pretoken_boundary_keeps_the_ids(gpt2, parts):
    text = "".join(parts)
    whole = gpt2.encode(text)
    for match in text_module._PRETOKEN_BOUNDARY.finditer(text):
        left, right = text[: match.start()], text[match.start() :]
        assert gpt2.encode(left) + gpt2.encode(right) == whole, (left, right)


@settings(deadline=None, max_examples=100)
@given(parts=st.lists(st.sampled_from(PARTS), max_size=60), block=st.integers(1, 9))
def test_chunks_of_a_file_have_the_ids_of_the_file(gpt2, tmp_path_factory, parts, block):
    text = "".join(parts)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "BLOCK_BYTES", block)
        chunks = list(read_texts([path])) if text else []
    assert "".join(chunks) == text
    assert all(chunks)
    assert [i for chunk in chunks for i in gpt2.encode(chunk)] == gpt2.encode(text)


def test_real_text_is_split_near_the_end_of_every_block(gpt2, text_files, monkeypatch):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 1000)
    path = text_files / "tinyshakespeare.txt"
    chunks = list(read_texts([path]))
    text = path.read_bytes().decode()
    assert "".join(chunks) == text
    assert max(map(len, chunks)) < 1100
    assert [i for chunk in chunks for i in gpt2.encode(chunk)] == gpt2.encode(text)


@pytest.mark.parametrize(
    "line", ["中文小说。", "\u3000\u3000中\n", "QWxhZGRpbjpvcGVu5", "a,b;", "x\r\n", "あいう、"]
)
def test_text_of_any_script_is_not_held_whole(tmp_path, monkeypatch, line):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 100)
    path = tmp_path / "text.txt"
    path.write_bytes((line * 200).encode())
    assert max(map(len, read_texts([path]))) < 200


@pytest.mark.parametrize(
    ("ending", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_compressed_files_give_their_content(tmp_path, ending, compress):
    path = tmp_path / f"text.txt{ending}"
    path.write_bytes(compress("zipped ünïcode\n".encode() * 1000))
    assert "".join(read_texts([path])) == "zipped ünïcode\n" * 1000


def test_files_come_one_after_the_other_and_empty_ones_give_nothing(tmp_path):
    for name, text in (("a", "one"), ("b", ""), ("c", "two")):
        (tmp_path / name).write_text(text)
    assert list(read_texts(tmp_path / name for name in "abc")) == ["one", "two"]


def test_line_ends_are_kept_and_a_byte_order_mark_is_not(tmp_path, monkeypatch):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc \xef\xbb\xbf")
    for block in (1, 2, 1000):
        monkeypatch.setattr(text_module, "BLOCK_BYTES", block)
        assert "".join(read_texts([path])) == "a\r\nb\rc \ufeff"


def test_progress_counts_the_bytes_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 4)
    (tmp_path / "a").write_text("one two")
    (tmp_path / "b").write_text("three")
    calls = []
    list(read_texts([tmp_path / "a", tmp_path / "b"], on_progress=lambda *c: calls.append(c)))
    assert calls == [(4, 12), (7, 12), (7, 12), (11, 12), (12, 12), (12, 12)]


def test_a_large_file_is_read_in_constant_memory(tmp_path):
    path = tmp_path / "large.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(40):
            file.write(b"the same line of text again\n" * 40_000)  # 45 MB in all
    tracemalloc.start()
    total = sum(map(len, read_texts([path])))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 40 * 40_000 * 28
    assert peak < 4_000_000


def test_a_corpus_without_files_is_an_error():
    with pytest.raises(ValueError, match=r"^paths=\[\] is empty\. Name at least one file\."):
        read_texts([])


def test_one_path_is_an_error(tmp_path):
    with pytest.raises(TypeError, match=r"^paths='text\.txt' is not a list of paths\."):
        read_texts("text.txt")


def test_a_missing_file_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt does not exist\."):
        read_texts([tmp_path / "nowhere.txt"])


def test_a_directory_is_an_error_at_once(tmp_path):
    with pytest.raises(
        IsADirectoryError, match=r" is a directory\. Name the files in it, .*\*\.txt\."
    ):
        read_texts([tmp_path])


def test_an_empty_corpus_is_an_error(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(
        ValueError, match=r"^The 2 file\(s\) of the corpus are all empty, the first '.*a'"
    ):
        list(read_texts([tmp_path / "a", tmp_path / "b"]))


@pytest.mark.parametrize("block", [1, 3, 1000])
@pytest.mark.parametrize(
    ("raw", "byte", "offset"),
    [
        (b"plain \xff text", "0xff", 6),
        ("ünï".encode() + b"\x00", "0x00", 5),
        (b"ends early \xe2\x82", "0xe2", 11),
        (b"\x80", "0x80", 0),
    ],
)
def test_a_binary_file_is_an_error_with_the_offset(tmp_path, monkeypatch, raw, byte, offset, block):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", block)
    path = tmp_path / "image.txt"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=rf"image\.txt has byte {byte} at offset {offset}, "):
        list(read_texts([path]))


def test_the_offset_in_a_compressed_file_is_that_of_its_content(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"abc\xff"))
    with pytest.raises(ValueError, match=r"at offset 3 of its decompressed content"):
        list(read_texts([path]))


@pytest.mark.parametrize(
    ("ending", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_a_damaged_compressed_file_is_an_error(tmp_path, ending, compress):
    path = tmp_path / f"text{ending}"
    raw = compress(bytes(range(32, 127)) * 500)
    broken = raw[: len(raw) // 2]
    flipped = raw[:40] + bytes([raw[40] ^ 255]) + raw[41:]
    for content in (broken, b"no archive at all", flipped):
        path.write_bytes(content)
        with pytest.raises(
            ValueError,
            match=rf"{path.name} cannot be decompressed: it is damaged or not a {ending} file",
        ):
            list(read_texts([path]))


def test_endless_text_without_a_pretoken_boundary_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 10)
    monkeypatch.setattr(text_module, "MAX_HELD_CHARACTERS", 50)
    path = tmp_path / "a.txt"
    path.write_text("a" * 50)
    assert list(read_texts([path])) == ["a" * 50]
    path.write_text("a" * 51)
    with pytest.raises(ValueError, match=r"a\.txt has more than 50 characters without a space"):
        list(read_texts([path]))
