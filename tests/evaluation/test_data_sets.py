"""The readers of data sets, and what is said of a file of another one."""

import bz2
import gzip
import json
import re
import zipfile

import pytest

from gpt2_keras.evaluation import evaluate_task, find_protocol
from gpt2_keras.evaluation.continuations import continuation_span
from gpt2_keras.evaluation.data_sets import read_cloze, read_passages, read_texts
from gpt2_keras.evaluation.questions import read_questions
from tests.evaluation.data_sets import CBT_SENTENCES, FILES, LAMBADA, WIKITEXT, write
from tests.models import text_model

PASSAGE = " ".join(CBT_SENTENCES).replace(" ,", ",").replace(" .", ".")


def test_passages_come_with_file_and_line(tmp_path):
    for task in ("lambada-openai", "lambada-standard"):
        file = write(tmp_path, task)
        assert read_passages(task, file) == [
            (f"{file}, line {i}", text) for i, text in enumerate(LAMBADA, 1)
        ]


def test_the_paper_scores_the_choice_and_the_rest_of_its_sentence(tmp_path):
    file = write(tmp_path, "cbt-cn")
    (question,) = read_questions(find_protocol("cbt-cn", "paper"), file)
    given = f"{PASSAGE} the dog's log was on the"
    assert question.pairs == tuple(
        (given, f" {choice}, it sat.") for choice in ("cat", "mat", "dog")
    )
    assert question.label == 1


def test_lm_eval_scores_the_whole_passage_with_the_choice(tmp_path):
    file = write(tmp_path, "cbt-ne")
    (question,) = read_questions(find_protocol("cbt-ne", "lm-eval"), file)
    start = f"Passage: {PASSAGE}\nQuestion: the dog's log was on the"
    assert question.pairs == tuple(
        ("", f"{start} {choice}, it sat.") for choice in ("cat", "mat", "dog")
    )


def test_a_choice_that_its_neighbours_change_is_scored_as_it_reads(tmp_path):
    file = write(tmp_path, "cbt-cn")
    text = file.read_text().replace("on the XXXXX ,", "on `` XXXXX n't")
    file.write_text(text)
    (question,) = read_questions(find_protocol("cbt-cn", "paper"), file)
    assert question.pairs[0][0].endswith('was on "')
    assert question.pairs[0][1] == "catn't it sat."


def test_hellaswag_is_put_as_each_protocol_puts_it(tmp_path):
    file = write(tmp_path, "hellaswag")
    (question,) = read_questions(find_protocol("hellaswag", "lm-eval"), file)
    assert question.pairs[0] == (
        "Cats: the cat sat. It",
        " sat on the mat.  the".replace("  ", " "),
    )
    assert question.choices[0] == "sat on the mat. the"
    (question,) = read_questions(find_protocol("hellaswag", "llm.c"), file)
    assert question.pairs[0] == ("the cat sat. it", " sat on the mat [title] the")
    assert question.label == 2


def test_wikitext_is_read_as_text_and_as_rows(tmp_path):
    file = write(tmp_path, "wikitext-2")
    assert read_texts("wikitext-2", file, "file") == [WIKITEXT]
    pages = read_texts("wikitext-2", file, "page")
    assert [page.split("=")[1] for page in pages] == [" The cat ", " The dog "]
    assert "\n".join(["", *pages]).strip() == WIKITEXT.strip()
    for field, rows in (("page", pages), ("text", WIKITEXT.splitlines(keepends=True))):
        other = tmp_path / f"{field}.jsonl"
        other.write_text("".join(json.dumps({field: row}) + "\n" for row in rows))
        found = read_texts("wikitext-103", other, "page")
        assert [page.strip() for page in found] == [page.strip() for page in pages]


def test_archives_are_read_as_they_are_distributed(tmp_path):
    name, text = FILES["enwik8"]
    with zipfile.ZipFile(tmp_path / "enwik8.zip", "w") as archive:
        archive.writestr(name, text)
    (tmp_path / "enwik8.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "enwik8.bz2").write_bytes(bz2.compress(text.encode()))
    for file in ("enwik8.zip", "enwik8.gz", "enwik8.bz2"):
        assert read_texts("enwik8", tmp_path / file, "file") == [text]


def test_of_the_whole_enwik8_the_last_five_million_bytes_are_the_test_set(tmp_path, monkeypatch):
    monkeypatch.setattr("gpt2_keras.evaluation.data_sets._WHOLE_SIZE", 1000)
    monkeypatch.setattr("gpt2_keras.evaluation.data_sets._TEST_SIZE", 9)
    file = tmp_path / "enwik8"
    # The ninth byte from the end is inside a character, and so is the last one.
    file.write_bytes(b"<mediawiki >" + b" " * 1000 + "éthe cat".encode()[:9] + "é".encode()[:1])
    (text,) = read_texts("enwik8", file, "file")
    assert text == "the cat"


def test_lines_are_documents_of_the_billion_word_benchmark(tmp_path):
    file = write(tmp_path, "1bw")
    assert len(read_texts("1bw", file, "line")) == 2


WRONG = {
    "hellaswag": ("lambada-openai", "HellaSwag, JSON objects with `ctx` and `endings`"),
    "cbt-cn": ("wikitext-2", "the Children's Book Test, numbered lines with choices in the 21st"),
    "wikitext-2": ("enwik8", "WikiText, with lines like ` = Title = `"),
    "enwik8": ("text8", "enwik8, an XML dump of Wikipedia"),
    "text8": ("cbt-ne", "text8, letters and single spaces in one line"),
    "lambada-openai": ("hellaswag", "JSON objects with `text`, as OpenAI's LAMBADA has"),
    "lambada-standard": ("lambada-openai", "JSON objects with `text`, as OpenAI's LAMBADA has"),
}


MORE_WRONG = [
    ("lambada-openai", "ptb", WRONG["lambada-openai"][1]),
    ("hellaswag", "1bw", WRONG["hellaswag"][1]),
    ("wikitext-2", "lambada-standard", WRONG["wikitext-2"][1]),
]


@pytest.mark.parametrize(
    ("given", "task", "words"), [*((g, t, w) for g, (t, w) in WRONG.items()), *MORE_WRONG]
)
def test_a_file_of_another_task_is_told(tmp_path, given, task, words):
    file = write(tmp_path, given)
    words = {"lambada-standard": "plain text"}.get(given, words)
    message = f"{file} looks like {words}. The files of task={task!r} are "
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate_task(text_model(), task, file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"a": 1, "b": 2}\n',
            r"looks like JSON objects with 'a', 'b'\. The files of task='ptb' are",
        ),
        ("", r"has no text\. Name a file with at least one character\."),
    ],
)
def test_a_file_that_is_no_text_of_a_task_is_an_error(tmp_path, content, message):
    file = tmp_path / "ptb.test.txt"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        evaluate_task(text_model(), "ptb", file)


def test_damaged_questions_are_errors(tmp_path):
    file = write(tmp_path, "cbt-cn")
    text = file.read_text()
    file.write_text(text.replace("\tmat\t", "\trug\t"))
    message = r"line 1 has the answer 'rug', which is none of its choices cat, mat, dog\."
    with pytest.raises(ValueError, match=message):
        read_cloze("cbt-cn", file)
    file.write_text(text.split("21 ")[0])
    with pytest.raises(ValueError, match=r"line 1 begins no question .* its last line is 'the cat"):
        read_cloze("cbt-cn", file)
    file = write(tmp_path, "hellaswag")
    file.write_text(file.read_text().replace('"label": 2', '"label": 4'))
    with pytest.raises(ValueError, match=r"line 1 has label=4 for 4 endings\. Labels count from 0"):
        evaluate_task(text_model(), "hellaswag", file)
    file = tmp_path / "lambada.txt"
    file.write_text("\n\n")
    with pytest.raises(ValueError, match=r"lambada\.txt has no passage\. Name a file with one per"):
        evaluate_task(text_model(), "lambada-standard", file)
    file.write_bytes(b"a caf\xe9 b\n")
    with pytest.raises(ValueError, match=r"lambada\.txt has byte 0xe9, which is not UTF-8\."):
        evaluate_task(text_model(), "lambada-standard", file)
    file = tmp_path / "text8.zip"
    file.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"text8\.zip is no \.zip file that can be read"):
        evaluate_task(text_model(), "text8", file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "a")
        archive.writestr("b", "b")
    with pytest.raises(
        ValueError, match=r"text8\.zip has 2 files \(a, b\)\. A \.zip file of a data"
    ):
        evaluate_task(text_model(), "text8", file)


def test_texts_without_a_token_to_score_are_errors(tmp_path):
    file = tmp_path / "ptb.test.txt"
    file.write_text("a\n")
    model = text_model()
    message = r"have 1 tokens to score and 0 units \(space\)\. Use longer ones\.$"
    with pytest.raises(ValueError, match=message):
        evaluate_task(model, "ptb", file, protocol="megatron")
    file.write_text("a\n")
    with pytest.raises(ValueError, match=r"line 1 has no token before the scored ones\. Give it"):
        evaluate_task(model, "lambada-openai", _one_letter(tmp_path), protocol="megatron")


def _one_letter(folder):
    file = folder / "a.jsonl"
    file.write_text('{"text": "a"}\n')
    return file


def test_what_leaves_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match=r"^f, line 1 has no token to score\. Leave it out\.$"):
        continuation_span("f, line 1", [1], [], 8)
