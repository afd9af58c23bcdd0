"""Reading, checking and writing the files of a tokenizer."""

import json

import pytest

from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.byte_alphabet import bytes_to_unicode, spell, unspell
from gpt2_keras.tokenizer.files import read_vocabulary, write_files
from gpt2_keras.tokenizer.vocabulary import Vocabulary

END = "<|endoftext|>"


@pytest.fixture
def saved(tmp_path):
    """A folder of all four files."""
    GPT2Tokenizer.train(["low lower lowest slow slower"], vocab_size=262).save(tmp_path)
    return tmp_path


def bytes_only() -> dict[str, int]:
    return {token: i for i, token in enumerate([*bytes_to_unicode().values(), END])}


def edit(path, change):
    """Rewrites a JSON file with a change."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_the_byte_alphabet_is_that_of_the_published_vocabulary(gpt2_files):
    published = json.loads((gpt2_files / "encoder.json").read_text(encoding="utf-8"))
    by_id = sorted(published, key=published.__getitem__)
    assert by_id[:256] == list(bytes_to_unicode().values())
    assert sorted(bytes_to_unicode()) == list(range(256))


def test_spelling_is_undone():
    raw = bytes(range(256))
    assert unspell(spell(raw)) == raw
    assert spell(b" a\n") == "ĠaĊ"


def test_all_three_ways_of_keeping_a_vocabulary_are_read(saved, tmp_path):
    expected = read_vocabulary(saved)
    openai, single = tmp_path / "openai", tmp_path / "single"
    openai.mkdir()
    single.mkdir()
    (saved / "vocab.json").rename(openai / "encoder.json")
    (saved / "merges.txt").rename(openai / "vocab.bpe")
    (saved / "tokenizer.json").rename(single / "tokenizer.json")
    assert read_vocabulary(openai) == expected
    assert read_vocabulary(single) == expected


def test_merges_are_read_with_any_header_and_line_ends(saved):
    (saved / "tokenizer.json").unlink()
    expected = read_vocabulary(saved)
    lines = (saved / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    for text in ("\n".join(lines), "\r\n".join(["#version: 0.2", *lines]), "\n".join(lines[:-1])):
        (saved / "merges.txt").write_bytes(text.encode())
        assert read_vocabulary(saved) == expected


def test_a_merge_of_number_signs_is_no_header(tmp_path):
    GPT2Tokenizer.train(["## ## ##"], vocab_size=258).save(tmp_path)
    (tmp_path / "merges.txt").write_text("# #\n")  # the first line, without a header
    assert read_vocabulary(tmp_path).merges == [("#", "#")]


def test_merges_spelled_in_one_string_are_read(saved):
    expected = read_vocabulary(saved)
    (saved / "vocab.json").unlink()
    edit(
        saved / "tokenizer.json",
        lambda content: content["model"].update(
            merges=[" ".join(pair) for pair in content["model"]["merges"]]
        ),
    )
    assert read_vocabulary(saved) == expected


def test_added_tokens_beside_the_vocabulary_are_special(saved):
    (saved / "tokenizer.json").unlink()
    (saved / "added_tokens.json").write_text('{"<pad>": 262}')
    assert read_vocabulary(saved).special_tokens == (END, "<pad>")
    assert GPT2Tokenizer.from_directory(saved).special_tokens == {END: 261, "<pad>": 262}


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Received: '.*nowhere', which is not there"):
        read_vocabulary(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"Received: '.*file', which is a file"):
        read_vocabulary(tmp_path / "file")


def test_missing_files_are_named(tmp_path):
    wanted = r"vocab\.json and merges\.txt, or encoder\.json and vocab\.bpe, or tokenizer\.json"
    with pytest.raises(FileNotFoundError, match=rf"{wanted}.*which has none of them"):
        read_vocabulary(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"which has vocab\.json\. Name another"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer.json"])
def test_a_json_file_cut_short_is_refused(saved, name):
    raw = (saved / name).read_bytes()
    (saved / name).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match=rf"{name} is a JSON object\. Received: .*is not JSON"):
        read_vocabulary(saved)


def test_a_json_file_of_another_kind_is_refused(saved):
    (saved / "vocab.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"vocab\.json is a JSON object\. Received: .*, a list"):
        read_vocabulary(saved)


def test_merges_cut_short_are_refused(saved):
    lines = (saved / "merges.txt").read_text(encoding="utf-8").split("\n")
    (saved / "merges.txt").write_text("\n".join(lines[:-2]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"1 of .*merges\.txt are none.*\(id 260\), with 4 merges"):
        read_vocabulary(saved)
    (saved / "merges.txt").write_text("#version: 0.2\nl o\nw", encoding="utf-8")
    with pytest.raises(ValueError, match=r"two tokens with.*Received: 'w', merge 1 of .*merges"):
        read_vocabulary(saved)
    (saved / "merges.txt").write_bytes(b"#version: 0.2\n\xc4")
    with pytest.raises(ValueError, match=r"merges\.txt is UTF-8 text.*byte 0xc4 in position 14"):
        read_vocabulary(saved)


def test_files_of_two_tokenizers_are_refused(saved):
    (saved / "merges.txt").write_text("#version: 0.2\nx y\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"Received: merge 0 of .*'x' \+ 'y', where 'xy' is none"):
        read_vocabulary(saved)


def test_a_special_token_with_two_ids_is_refused(saved):
    (saved / "tokenizer.json").unlink()
    (saved / "added_tokens.json").write_text(json.dumps({END: 5}))
    with pytest.raises(ValueError, match=r"with id 5 beside .*vocab\.json, where it is 261"):
        read_vocabulary(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model"].update(type="WordPiece"), r"with model='WordPiece'"),
        (lambda c: c.update(pre_tokenizer=None), r"pre_tokenizer=\{\}"),
        (lambda c: c["pre_tokenizer"].update(add_prefix_space=True), r"'add_prefix_space': True"),
        (lambda c: c.update(normalizer={"type": "NFC"}), r"normalizer=\{'type': 'NFC'\}"),
        (lambda c: c["model"].update(merges=None), r"vocab=dict, merges=NoneType"),
        (lambda c: c["model"]["merges"].append(["a"]), r"Received: \['a'\], merge 5"),
    ],
)
def test_a_tokenizer_file_of_another_kind_is_refused(saved, change, message):
    (saved / "vocab.json").unlink()
    edit(saved / "tokenizer.json", change)
    with pytest.raises(ValueError, match=message):
        read_vocabulary(saved)


def test_ids_with_a_hole_are_refused(saved):
    edit(saved / "vocab.json", lambda ids: ids.pop("a"))
    with pytest.raises(ValueError, match=r"none that is 64\. Received: 'b': 65 in its place"):
        read_vocabulary(saved)
    with pytest.raises(ValueError, match=r"the vocabulary has none that is 1.*'\"': 0"):
        Vocabulary({**bytes_only(), '"': 0}, [])


def test_ids_that_are_no_integers_are_refused():
    with pytest.raises(TypeError, match=r"the vocabulary does not\. Received: 'a': '64'"):
        Vocabulary({**bytes_only(), "a": "64"}, [])


def test_a_missing_byte_is_refused():
    ids = {token: i for i, token in enumerate(t for t in bytes_only() if t != "Ġ")}
    with pytest.raises(ValueError, match=r"lacks 1\. Received: none for byte 0x20, spelled 'Ġ'"):
        Vocabulary(ids, [])


def test_a_vocabulary_without_end_of_text_is_refused():
    ids = bytes_only()
    del ids[END]
    with pytest.raises(ValueError, match=r"'<\|endoftext\|>', a special token.*256 tokens.*id 256"):
        Vocabulary(ids, [])
    with pytest.raises(ValueError, match=r"257 tokens, special tokens \[\]"):
        Vocabulary(bytes_only(), [], ())


def test_a_merge_given_twice_is_refused():
    ids = {token: i for i, token in enumerate([*bytes_only(), "ab"])}
    with pytest.raises(ValueError, match=r"given once\. Received: 'a' \+ 'b' again, as merge 1"):
        Vocabulary(ids, [("a", "b"), ("a", "b")])


def test_a_merge_into_a_special_token_is_refused():
    ids = {token: i for i, token in enumerate([*bytes_only(), "ab"])}
    with pytest.raises(ValueError, match=r"'a' \+ 'b', where 'ab' is none"):
        Vocabulary(ids, [("a", "b")], (END, "ab"))


def test_other_files_are_replaced_only_when_asked(saved):
    other = GPT2Tokenizer.train(["something else, something new"], vocab_size=264)
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(FileExistsError, match=r"another merges\.txt, tokenizer\.json, vocab\.json"):
        other.save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    other.save(saved, overwrite=True)
    assert GPT2Tokenizer.from_directory(saved) == other
    other.save(saved)  # the same content again


def test_a_failed_write_leaves_neither_half_a_file_nor_a_temporary_one(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("before")

    def no_room(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt2_keras.atomic.os.replace", no_room)
    with pytest.raises(OSError, match="No space left"):
        write_files(tmp_path, {"a.txt": "after"}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"
