"""Reading and writing the files of a tokenizer."""

import codecs
import json

import pytest

from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.files import read_vocabulary, write_files

END = "<|endoftext|>"


@pytest.fixture
def saved(tmp_path):
    """A folder of all four files."""
    GPT2Tokenizer.train(["low lower lowest slow slower"], vocab_size=262).save(tmp_path)
    return tmp_path


def edit(path, change):
    """Rewrites a JSON file with a change."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_all_three_formats_are_read(saved, tmp_path):
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


def test_a_directory_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist\. Use a directory with "):
        read_vocabulary(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"file is a file\. Use a directory with vocab"):
        read_vocabulary(tmp_path / "file")
    with pytest.raises(TypeError, match=r"^path=3 is an int\. Use a path\."):
        read_vocabulary(3)


def test_missing_files_are_named(tmp_path):
    names = r"vocab\.json and merges\.txt, or encoder\.json and vocab\.bpe, or tokenizer\.json"
    with pytest.raises(FileNotFoundError, match=rf"has no tokenizer files\. .* has {names} alone"):
        read_vocabulary(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r" has vocab\.json\. .*Use another directory"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer.json"])
def test_a_truncated_json_file_is_an_error(saved, name):
    raw = (saved / name).read_bytes()
    (saved / name).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match=rf"{name} is not JSON \(.*incomplete: fetch it again"):
        read_vocabulary(saved)


def test_a_json_file_that_is_no_object_is_an_error(saved):
    (saved / "vocab.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"vocab\.json is a list, not a JSON object\."):
        read_vocabulary(saved)


def test_truncated_merges_are_an_error(saved):
    lines = (saved / "merges.txt").read_text(encoding="utf-8").split("\n")
    (saved / "merges.txt").write_text("\n".join(lines[:-2]), encoding="utf-8")
    message = r"^1 tokens of .*vocab\.json with merges\.txt are made by none of its 4 .*\(id 260\)"
    with pytest.raises(ValueError, match=message):
        read_vocabulary(saved)
    (saved / "merges.txt").write_text("#version: 0.2\nl o\nw", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^Merge 1 of .*merges\.txt is 'w'\. A merge is two"):
        read_vocabulary(saved)
    (saved / "merges.txt").write_bytes(b"#version: 0.2\n\xc4")
    with pytest.raises(ValueError, match=r"merges\.txt is not UTF-8.*byte 0xc4 in position 14"):
        read_vocabulary(saved)


def test_files_of_two_tokenizers_are_an_error(saved):
    (saved / "merges.txt").write_text("#version: 0.2\nx y\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^Merge 0 of .* is 'x' \+ 'y', but 'xy' has no id\."):
        read_vocabulary(saved)


def test_a_special_token_with_two_ids_is_an_error(saved):
    (saved / "tokenizer.json").unlink()
    (saved / "added_tokens.json").write_text(json.dumps({END: 5}))
    with pytest.raises(ValueError, match=r"has id 5 beside .*vocab\.json, where its id is 261\."):
        read_vocabulary(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model"].update(type="WordPiece"), r"tokenizer\.json has model='WordPiece'"),
        (lambda c: c.update(pre_tokenizer=None), r"pre_tokenizer=\{\}\. A GPT-2"),
        (lambda c: c["pre_tokenizer"].update(add_prefix_space=True), r"'add_prefix_space': True"),
        (lambda c: c.update(normalizer={"type": "NFC"}), r"has normalizer=\{'type': 'NFC'\}\."),
        (lambda c: c["model"].update(merges=None), r"vocab that is a dict and .* a NoneType\."),
        (lambda c: c["model"]["merges"].append(["a"]), r"^Merge 5 of .* is \['a'\]\."),
    ],
)
def test_a_tokenizer_file_that_is_not_like_gpt2s_is_an_error(saved, change, message):
    (saved / "vocab.json").unlink()
    edit(saved / "tokenizer.json", change)
    with pytest.raises(ValueError, match=message):
        read_vocabulary(saved)


def test_ids_with_a_gap_are_an_error(saved):
    edit(saved / "vocab.json", lambda ids: ids.pop("a"))
    with pytest.raises(ValueError, match=r"has id 65, of 'b', where 64 should come next\."):
        read_vocabulary(saved)


def test_the_files_of_another_tokenizer_are_replaced_only_with_overwrite(saved):
    other = GPT2Tokenizer.train(["something else, something new"], vocab_size=264)
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(
        FileExistsError, match=r" has another merges\.txt, tokenizer\.json, vocab\.json\."
    ):
        other.save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    other.save(saved, overwrite=True)
    assert GPT2Tokenizer.from_directory(saved) == other
    other.save(saved)  # the same content again


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"directory": 3}, TypeError, r"^directory=3 is an int\. Use a path\."),
        ({"overwrite": 1}, TypeError, r"^overwrite=1 is an int\. Use True or False\."),
        ({"model_max_length": 1.5}, TypeError, r"^model_max_length=1\.5 is a float\."),
        ({"model_max_length": 0}, ValueError, r"^model_max_length=0 is less than 1\."),
    ],
)
def test_saving_checks_its_arguments_before_it_writes(tmp_path, arguments, error, message):
    tokenizer = GPT2Tokenizer.train(["low"], vocab_size=257)
    with pytest.raises(error, match=message):
        tokenizer.save(**{"directory": tmp_path / "out", **arguments})
    assert not (tmp_path / "out").exists()


def test_a_failed_write_leaves_neither_half_a_file_nor_a_temporary_one(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("before")

    def no_room(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt2_keras.atomic.os.replace", no_room)
    with pytest.raises(OSError, match="No space left"):
        write_files(tmp_path, {"a.txt": "after"}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_a_byte_order_mark_is_no_part_of_a_file(saved, tmp_path):
    single = tmp_path / "single"
    single.mkdir()
    expected = read_vocabulary(saved)
    for path in (*saved.glob("*.json"), saved / "merges.txt"):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert read_vocabulary(saved) == expected
    (saved / "tokenizer.json").rename(single / "tokenizer.json")
    assert read_vocabulary(single) == expected
    assert read_vocabulary(saved) == expected


TEXT_PIECE, END_PIECE = {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": END}}


def template(*pieces):
    """A post-processor that puts tokens around a text."""
    return {"type": "TemplateProcessing", "single": list(pieces), "pair": [], "special_tokens": {}}


OTHER_PIPELINES = {
    "prefix space": (
        lambda c: c["pre_tokenizer"].update(add_prefix_space=True),
        r"'add_prefix_space': True",
    ),
    "normalizer": (lambda c: c.update(normalizer={"type": "NFC"}), r"has normalizer=\{'type'"),
    "suffix": (lambda c: c["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix='</w>'"),
    "prefix": (
        lambda c: c["model"].update(continuing_subword_prefix="##"),
        "continuing_subword_prefix='##'",
    ),
    "dropout": (lambda c: c["model"].update(dropout=0.1), "dropout=0.1"),
    "merges": (lambda c: c["model"].update(ignore_merges=True), "ignore_merges=True"),
    "regex": (lambda c: c["pre_tokenizer"].update(use_regex=False), "use_regex=False"),
    "pre-tokenizer": (lambda c: c["pre_tokenizer"].update(type="Whitespace"), "'Whitespace'"),
    "template": (
        lambda c: c.update(post_processor=template(END_PIECE, TEXT_PIECE)),
        r"post_processor=\{'type': 'TemplateProcessing'.*, which adds tokens to each text\.",
    ),
    "template in a sequence": (
        lambda c: c.update(
            post_processor={
                "type": "Sequence",
                "processors": [c["post_processor"], template(TEXT_PIECE, END_PIECE)],
            }
        ),
        r"post_processor=\{'type': 'TemplateProcessing'.*, which adds tokens to each text\.",
    ),
    "post-processor": (
        lambda c: c.update(post_processor={"type": "RobertaProcessing", "cls": [END, 261]}),
        r"post_processor=\{'type': 'RobertaProcessing'.*Set post_processor to null",
    ),
    "decoder": (
        lambda c: c.update(decoder={"type": "WordPiece", "prefix": "##"}),
        r"decoder=\{'type': 'WordPiece', .* has a ByteLevel decoder\.",
    ),
}


@pytest.mark.parametrize("is_single", [False, True], ids=["beside the pair", "alone"])
@pytest.mark.parametrize("case", OTHER_PIPELINES)
def test_another_pipeline_is_refused_whichever_files_there_are(saved, case, is_single):
    change, message = OTHER_PIPELINES[case]
    edit(saved / "tokenizer.json", change)
    if is_single:
        (saved / "vocab.json").unlink()
    with pytest.raises(ValueError, match=message):
        read_vocabulary(saved)


@pytest.mark.parametrize(
    "post_processor",
    [None, {"type": "ByteLevel"}, template(TEXT_PIECE), {"type": "Sequence", "processors": []}],
)
def test_a_post_processor_that_adds_nothing_is_read(saved, post_processor):
    expected = read_vocabulary(saved)
    edit(saved / "tokenizer.json", lambda c: c.update(post_processor=post_processor, decoder=None))
    assert read_vocabulary(saved) == expected


@pytest.mark.parametrize("missing", ["tokenizer.json", "merges.txt"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"add_prefix_space": True}, r"add_prefix_space=true, which puts a space before each text"),
        ({"add_bos_token": True}, r"add_bos_token=true, which puts its bos_token before each text"),
        ({"add_eos_token": True}, r"add_eos_token=true, which puts its eos_token after each text"),
        ({"tokenizer_class": "RobertaTokenizerFast"}, r"tokenizer_class='RobertaTokenizerFast'\."),
        ({"tokenizer_class": 3}, r"tokenizer_class=3\. .* set it to \"GPT2Tokenizer\"\."),
        (
            {"pad_token": {"content": END, "lstrip": True}},
            r"has the special token '<\|endoftext\|>' with lstrip=true",
        ),
    ],
)
def test_a_config_that_gives_other_ids_is_refused(saved, missing, change, message):
    (saved / missing).unlink()
    edit(saved / "tokenizer_config.json", lambda c: c.update(change))
    with pytest.raises(ValueError, match=message):
        read_vocabulary(saved)


@pytest.mark.parametrize(
    "name", ["GPT2TokenizerFast", "PreTrainedTokenizerFast", "GPTNeoXTokenizer", None]
)
def test_classes_with_the_same_ids_are_read(saved, name):
    expected = read_vocabulary(saved)
    edit(saved / "tokenizer_config.json", lambda c: c.update(tokenizer_class=name))
    assert read_vocabulary(saved) == expected


ADDED_WORD = {"id": 262, "content": "newword", "normalized": True, "special": False}


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
def test_a_word_that_was_added_is_no_special_token(saved, tmp_path, file):
    def add(content):
        if file == "tokenizer.json":
            content["added_tokens"].append(ADDED_WORD)
        else:
            content["added_tokens_decoder"] = {"262": {**ADDED_WORD, "id": None}}

    edit(saved / file, add)
    tokenizer = GPT2Tokenizer.from_directory(saved)
    assert tokenizer.added_words == ("newword",)
    for policy in ("added", "none", "all", []):
        tokenizer = tokenizer.with_special_tokens_policy(policy)
        assert tokenizer.encode("a newword") == [*tokenizer.encode("a "), 262]
    more = tokenizer.with_special_tokens(["<|user|>"]).with_special_tokens_policy("none")
    more.save(tmp_path / "again")
    again = GPT2Tokenizer.from_directory(tmp_path / "again")
    assert (again, again.added_words) == (more, ("newword",))
    written = json.loads((tmp_path / "again" / "tokenizer.json").read_text(encoding="utf-8"))
    assert {each["content"]: each["special"] for each in written["added_tokens"]} == {
        END: True,
        "newword": False,
        "<|user|>": True,
    }
    assert again.without_special_tokens(["<|user|>", "newword"]).added_words == ()
