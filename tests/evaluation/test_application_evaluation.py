"""Applications measured on examples."""

import json

import pytest

from gpt2_keras.applications import answer, classify, summarize, translate
from gpt2_keras.cli.main import main
from gpt2_keras.evaluation import bleu, evaluate_application, exact_match, f1, rouge
from tests.models import CORPUS, text_model

ROWS = {
    "summarize": [{"text": CORPUS[0] * n, "summary": f"the cat {n}."} for n in range(1, 11)],
    "translate": [{"source": f"the cat {n}", "target": "the dog"} for n in range(3)],
    "answer": [
        {"question": "who?", "answer": "the cat", "document": CORPUS[0]},
        {"question": "what?", "answer": "42"},
    ],
    "classify": [{"text": "the cat", "label": "sat"}, {"text": "a", "label": "the dog"}],
}


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64, num_layers=1)


@pytest.fixture
def file_of(tmp_path):
    def write(task):
        path = tmp_path / f"{task}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[task]))
        return path

    return write


def test_the_measures_are_those_of_the_answers(model, file_of):
    rows = ROWS["summarize"]
    texts = [r["text"] for r in rows]
    outputs = summarize(model, texts, max_new_tokens=8, seed=5)
    right = [row["summary"] for row in rows]
    done = []
    result = evaluate_application(
        model, "summarize", file_of("summarize"), seed=5, batch_size=4, max_new_tokens=8,
        on_progress=lambda *numbers: done.append(numbers),
    )  # fmt: skip
    assert result.measures == rouge([each.text for each in outputs], right)
    assert result.num_examples == 10
    assert done == [(4, 10), (8, 10), (10, 10)]
    outputs = translate(model, [row["source"] for row in ROWS["translate"]])
    result = evaluate_application(model, "translate", file_of("translate"))
    assert result.measures == {"bleu": bleu([each.text for each in outputs], ["the dog"] * 3)}
    outputs = [answer(model, r["question"], document=r.get("document", "")) for r in ROWS["answer"]]
    result = evaluate_application(model, "answer", file_of("answer"))
    pairs = list(zip([each.text for each in outputs], ["the cat", "42"], strict=True))
    assert result.measures == {
        "exact_match": sum(exact_match(text, [gold]) for text, gold in pairs) / 2,
        "f1": sum(f1(text, [gold]) for text, gold in pairs) / 2,
    }
    found = [classify(model, row["text"], ["sat", "the dog"]) for row in ROWS["classify"]]
    right = [each.label == row["label"] for each, row in zip(found, ROWS["classify"], strict=True)]
    result = evaluate_application(model, "classify", file_of("classify"))
    assert result.measures == {"accuracy": sum(right) / 2}


def test_the_command_prints_what_was_published(model, file_of, tmp_path, capsys):
    model.save_to_preset(tmp_path / "model")
    words = ["evaluate", "--model", str(tmp_path / "model"), "--task", "answer"]
    assert main([*words, "--data", str(file_of("answer"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[1:4] == ["answer", "paper", "exact_match"]
    assert lines[2].split()[3] == "f1"
    assert lines[2].split()[5:7] == ["55.00%", "gpt2_xl"]
    assert lines[4].startswith(
        "paper: scored: exact match and F1, normalized as SQuAD's, greedily;"
    )


def test_wrong_arguments_are_told(model, file_of, tmp_path, capsys):
    with pytest.raises(
        ValueError, match=r"^task='chat' is unknown\. Use one of 'summarize', 'tran"
    ):
        evaluate_application(model, "chat", file_of("answer"))
    with pytest.raises(ValueError, match=r"line 1, has source=None, not a text; its fields are"):
        evaluate_application(model, "translate", file_of("answer"))
    with pytest.raises(SystemExit):
        main(["evaluate", "--model", "m", "--task", "answer", "--data", "a", "--protocol", "paper"])
    assert "--protocol is not for --task answer, which has one" in capsys.readouterr().err
