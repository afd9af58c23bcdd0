"""Tasks from text to text: prompts, cropping, post-processing, answers."""

import json

import pytest

from gpt2_keras.applications import (
    TextTask,
    answer,
    answer_task,
    summarize,
    summary_task,
    translate,
    translation_task,
)
from gpt2_keras.applications.chat_task import chat_task
from gpt2_keras.applications.post_processing import first_sentences, strip
from gpt2_keras.applications.text_task import fill
from gpt2_keras.generation import Sampler
from tests.models import CORPUS, text_model

CONTEXT = 96
ODD = [
    "the cat sat.",
    "  edges \n\n",
    "“curly” quotes, é𝄞",
    "a\n\n\nb",
    "tab\tand   spaces .",
    "...",
    "it's 42",
    "\u00a0no-break\u00a0",
    "ends with colon:",
    "<|endoftext|>",
    "Q: x\nA: y",
    "\x00\x7f",
]


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=CONTEXT)


def tasks_of(model):
    return {
        "summarize": (summary_task(model, max_new_tokens=4), ["text"]),
        "translate": (translation_task(model, max_new_tokens=4), ["text"]),
        "translate by example": (
            translation_task(model, examples=[("a", "b c"), ("d", "é")], max_new_tokens=4),
            ["text"],
        ),
        "answer": (answer_task(model, max_new_tokens=4), ["document", "question"]),
        "answer after others": (
            answer_task(model, history=[("who?", "it.")], max_new_tokens=4),
            ["document", "question"],
        ),
        "chat": (chat_task(model, max_new_tokens=4), ["text"]),
        "chat with a system": (chat_task(model, system="Be kind.", max_new_tokens=4), ["text"]),
    }


@pytest.mark.parametrize("name", tasks_of(text_model()))
@pytest.mark.parametrize("text", ODD)
def test_the_ids_of_a_prompt_are_those_of_its_text(model, name, text):
    task, fields = tasks_of(model)[name]
    prompt, cropped = fill(model, task, dict.fromkeys(fields, text))
    tokenizer = model.tokenizer.with_special_tokens_policy("none")
    assert list(prompt.token_ids) == tokenizer.encode(prompt.text)
    assert prompt.text.count(strip(text)) >= 1
    assert cropped == ""


def test_the_prompts_are_those_of_the_paper(model):
    def prompt(name, **row):
        return fill(model, tasks_of(model)[name][0], row)[0].text

    assert prompt("summarize", text=" One.\n") == "One.\nTL;DR:"
    assert prompt("translate", text="the cat") == "the cat ="
    assert prompt("translate by example", text="the cat") == "a = b c\nd = é\nthe cat ="
    assert prompt("answer", question="who?") == "Q: who?\nA:"
    assert prompt("answer", document="It sat.", question="who?") == "It sat.\n\nQ: who?\nA:"
    assert prompt("answer after others", document="x", question="y") == (
        "x\n\nQ: who?\nA: it.\nQ: y\nA:"
    )
    assert prompt("chat", text="Hi") == "User: Hi\n\nAssistant:"
    assert prompt("chat with a system", text="Hi") == ("System: Be kind.\n\nUser: Hi\n\nAssistant:")
    said = "User: a\n\nAssistant: b"
    assert prompt("chat", text="Hi", history=said) == f"{said}\n\nUser: Hi\n\nAssistant:"


def test_the_article_is_cropped_and_never_the_hint(model):
    article = CORPUS[0] * 20
    task = summary_task(model, max_new_tokens=10)
    prompt, cropped = fill(model, task, {"text": article})
    assert len(prompt.token_ids) == CONTEXT - 10
    assert prompt.text.endswith("\nTL;DR:")
    kept = prompt.text.removesuffix("\nTL;DR:")
    assert kept + cropped == strip(article)
    assert article.startswith(kept)


def test_what_fits_exactly_is_not_cropped_and_one_token_more_is(model):
    task = summary_task(model, max_new_tokens=10)
    hint = len(model.tokenizer.encode("\nTL;DR:"))
    text = "!" * (CONTEXT - 10 - hint)
    assert fill(model, task, {"text": text})[1] == ""
    assert fill(model, task, {"text": text + "?"})[1] == "?"


def test_a_huge_article_is_summarized(model):
    output = summarize(model, "the cat sat. " * 100_000, max_new_tokens=4, seed=0)
    assert len(output.cropped) > 1_000_000
    assert output.prompt.endswith("TL;DR:")


def test_the_document_is_cropped_after_the_oldest_questions(model):
    history = [(f"number {i}?", "it is so.") for i in range(9)]
    output = answer(model, "who sat?", document=CORPUS[0] * 9, history=history, max_new_tokens=6)
    assert output.prompt.endswith("\nQ: who sat?\nA:")
    assert "number 8?" in output.prompt
    assert "number 0?" not in output.prompt
    assert output.cropped.startswith("Q: number 0?\nA: it is so.\n")
    assert output.cropped.endswith(strip(CORPUS[0])[-9:])
    after = output.prompt.split("\n\n", 1)[1]
    assert len(model.tokenizer.encode(after)) <= (CONTEXT - 6) // 2 + 1
    assert output.prompt.startswith("the cat sat")
    with pytest.raises(
        ValueError, match=r"^The prompt of `answer` has \d+ tokens \(question: \d+\)"
    ):
        answer(model, CORPUS[0] * 3, document="a")


def test_answers_are_what_generate_gives_for_the_prompt(model):
    output = summarize(model, CORPUS[0], max_new_tokens=12, seed=4, num_sentences=0)
    details = model.generate_details(
        output.prompt, max_new_tokens=12, sampler=Sampler(top_k=2), seed=4
    )
    assert output.generation.token_ids == details.token_ids
    assert output.text == strip(details.text)
    assert output.log_prob == pytest.approx(sum(details.log_probs))
    assert str(output) == output.text
    for found in (
        translate(model, "the cat", examples=[("a", "b")], max_new_tokens=20, num_sentences=0),
        answer(model, "who?", document="the cat sat.", max_new_tokens=20),
    ):
        expected = model.generate(
            found.prompt, max_new_tokens=20, temperature=0.0, stop="\n", strip_prompt=True
        )
        assert found.text == strip(expected)


def test_several_texts_are_answered_as_one_is(model):
    texts = [CORPUS[0][:40], "the dog", CORPUS[0] * 9]
    together = summarize(model, texts, max_new_tokens=8, seed=[3, 4, 5])
    alone = [summarize(model, each, max_new_tokens=8, seed=3 + i) for i, each in enumerate(texts)]
    assert [each.text for each in together] == [each.text for each in alone]
    assert [each.cropped for each in together] == [each.cropped for each in alone]


def test_special_tokens_in_a_text_are_text(model):
    output = summarize(model, "a<|endoftext|>b", max_new_tokens=4, seed=0)
    assert output.prompt == "a<|endoftext|>b\nTL;DR:"
    prompt, _ = fill(model, summary_task(model), {"text": "<|endoftext|>"})
    assert model.tokenizer.end_token_id not in prompt.token_ids


SENTENCES = [
    ("One. Two. Three. Four.", 3, "One. Two. Three."),
    ("One. Two", 3, "One. Two"),
    ("One. Two.", 1, "One."),
    ("One. Two.", 0, "One. Two."),
    ('He said "no." Then.', 1, 'He said "no."'),
    ("3.5 is not two. Yes", 1, "3.5 is not two."),
    ("What?! Yes.", 1, "What?!"),
    ("(It was.) And", 1, "(It was.)"),
    ("no end", 1, "no end"),
    ("a.\nb.\nc", 2, "a.\nb."),
    ("", 2, ""),
    ("é. 𝄞! x", 2, "é. 𝄞!"),
]


@pytest.mark.parametrize(("text", "count", "expected"), SENTENCES)
def test_the_first_sentences_are_kept(text, count, expected):
    assert first_sentences(text, count) == expected


def test_a_task_is_data(model):
    for task, _ in tasks_of(model).values():
        contents = json.loads(json.dumps(task.to_dict()))
        assert TextTask.from_dict(contents) == task


def test_defaults_are_those_of_the_paper():
    model = text_model(context_length=1024, num_layers=1)
    task = summary_task(model)
    assert (task.max_new_tokens, task.sampler, task.num_sentences) == (100, Sampler(top_k=2), 3)
    task = translation_task(model)
    assert (task.sampler, task.stop, task.num_sentences) == (Sampler(0.0), ("\n",), 1)
    assert answer_task(model).sampler == Sampler(temperature=0.0)
    small = text_model(context_length=32, num_layers=1)
    assert summary_task(small).max_new_tokens == 16  # half the context


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: summarize(m, " \n"), ValueError, r"^text=' \\n' is empty\. `summarize` needs"),
        (lambda m: summarize(m, ["a", 3]), TypeError, r"^text\[1\]=3 is an int\. Use a str\."),
        (lambda m: summarize(m, "a", hint=3), TypeError, r"^hint=3 is an int\."),
        (lambda m: summarize(m, "a", num_sentences=-1), ValueError, r"^num_sentences=-1 is less"),
        (lambda m: summarize(m, "a", max_new_tokens=0), ValueError, r"^max_new_tokens=0 is less"),
        (
            lambda m: summarize(m, "a", max_new_tokens=CONTEXT),
            ValueError,
            r"^max_new_tokens=96 is greater than 95\.",
        ),
        (
            lambda m: translate(m, "a", examples=[("b",)]),
            ValueError,
            r"^examples\[0\]=\('b',\) is no pair of texts, neither of them empty\.",
        ),
        (lambda m: translate(m, "a", examples="b"), TypeError, r"^examples='b' is a str\. Use a l"),
        (
            lambda m: translate(m, "a", examples=[("b", " ")]),
            ValueError,
            r"^examples\[0\]=\('b', ' '\)",
        ),
        (
            lambda m: translate(m, "a", examples=[("b" * 99, "c")]),
            ValueError,
            r"^The prompt of `translate` has \d+ tokens \(the template\), and max_new_tokens=48",
        ),
        (lambda m: answer(m, "  "), ValueError, r"^question='  ' is empty\. `answer` needs"),
        (lambda m: answer(m, "a", document=3), TypeError, r"^document=3 is an int\."),
        (lambda m: answer(m, "a", history=[3]), TypeError, r"^history\[0\]=3 is an int\. Use"),
    ],
)  # fmt: skip
def test_bad_input_is_told(model, call, error, message):
    with pytest.raises(error, match=message):
        call(model)
