"""`gpt2-keras train --task`: what is learned is what the command of that name answers."""

import json

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.applications import Chat, summarize
from gpt2_keras.cli.main import main
from gpt2_keras.data.documents import read_texts
from gpt2_keras.finetuning import GPT2Classifier, resume_classifier
from gpt2_keras.finetuning.classifier_run import _Keeper
from gpt2_keras.runs import RunDirectory
from tests.models import text_model

ANIMALS = ("cat", "dog", "mat", "log")


@pytest.fixture(scope="module")
def init(tmp_path_factory):
    path = tmp_path_factory.mktemp("init") / "model"
    text_model(context_length=64, num_layers=1, hidden_dim=32).save_to_preset(path)
    return path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def train(task, data, init, out, *more):
    words = ["train", "--task", task, "--data", str(data), "--init", str(init), "--out", str(out)]
    steps = ["--learning-rate", "0.003", "--patience", "0", "--batch-size", "4"]
    return main([*words, *steps, *more])


def test_summaries_are_learned_and_end_themselves(init, tmp_path, capsys):
    found = [
        {"text": f"the {a} sat on the {b}.", "summary": f"the {a} sat."}
        for a in ANIMALS for b in ANIMALS
    ]  # fmt: skip
    data, out = write(tmp_path / "a.jsonl", [*found, *found[:2]]), tmp_path / "run"
    assert train("summarize", data, init, out, "--steps", "150", "--evaluate-every", "75") == 0
    assert "gpt2-keras summarize --model" in capsys.readouterr().out
    model = GPT2LM.from_preset(out)
    for row in found[:4]:
        output = summarize(model, row["text"], num_sentences=0, max_new_tokens=16)
        assert output.text == row["summary"]
        assert output.generation.finish_reason == "end"
    settings = json.loads((out / "settings.json").read_text())
    assert settings["task"] == "summarize"
    assert settings["tokenizer"] == settings["init"]


def test_an_interrupted_run_of_a_task_resumes_as_if_it_had_not_stopped(init, tmp_path):
    rows = [{"text": f"the {a}", "summary": a} for a in ANIMALS] * 4
    data = write(tmp_path / "a.jsonl", rows)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ("--schedule", "constant", "--evaluate-every", "4")
    assert train("summarize", data, init, whole, "--steps", "8", *options) == 0
    assert train("summarize", data, init, parts, "--steps", "4", *options) == 0
    assert main(["train", "--resume", "--out", str(parts), "--steps", "8"]) == 0
    first, second = (GPT2LM.from_preset(each).get_weights() for each in (whole, parts))
    for one, other in zip(first, second, strict=True):
        assert (one == other).all()


def test_conversations_are_learned(init, tmp_path):
    talks = [
        {"messages": [{"role": "user", "content": f"the {a}?"},
                      {"role": "assistant", "content": f"{a} sat."}]}
        for a in ANIMALS
    ]  # fmt: skip
    data, out = write(tmp_path / "a.jsonl", [*talks, talks[0]]), tmp_path / "run"
    assert train("chat", data, init, out, "--steps", "400", "--evaluate-every", "400") == 0
    talk = Chat(GPT2LM.from_preset(out), max_new_tokens=10)
    assert talk.ask("the dog?").text == "dog sat."


def test_labels_are_learned_by_a_classifier(init, tmp_path, capsys):
    rows = [{"text": f"the {a} sat on the {b}", "label": a} for b in ANIMALS for a in ANIMALS]
    data, out = write(tmp_path / "a.jsonl", rows), tmp_path / "run"
    options = ("--steps", "120", "--validation-fraction", "0.2")
    assert train("classify", data, init, out, *options) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("accuracy  100.0% at step ")
    assert "gpt2-keras classify --model" in printed
    classifier = GPT2Classifier.from_preset(out / "model")
    assert classifier.labels == sorted(ANIMALS)
    assert classifier.classify(["the dog sat on the mat"]) == ["dog"]
    assert {each.name for each in out.iterdir()} >= {"model", "history.csv", "loss.png"}
    history = (out / "history.csv").read_text().splitlines()
    assert history[0] == "step,loss,accuracy,val_loss,val_accuracy"
    assert history[-1].startswith("120,")
    assert main(["classify", "--model", str(out), "the log sat on the cat"]) == 0
    assert capsys.readouterr().out == "log\n"
    # A run that is over is loaded.
    assert resume_classifier(out, model_class=GPT2LM).labels == sorted(ANIMALS)


def test_an_interrupted_classifier_continues_after_its_last_epoch(init, tmp_path, monkeypatch):
    rows = [{"text": f"the {a}", "label": a} for a in ANIMALS] * 4
    data, out = write(tmp_path / "a.jsonl", rows), tmp_path / "run"
    kept, seen = _Keeper.on_epoch_end, []

    def stopped(self, epoch, logs=None):
        kept(self, epoch, logs)
        seen.append(epoch)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(_Keeper, "on_epoch_end", stopped)
    assert train("classify", data, init, out, "--steps", "16") == 130
    assert main(["train", "--resume", "--out", str(out)]) == 0
    # The second epoch is repeated if the signal came before it was saved as a whole.
    assert seen in ([0, 1, 2, 3], [0, 1, 1, 2, 3])
    steps = [line.split(",")[0] for line in (out / "history.csv").read_text().splitlines()[1:]]
    assert steps == ["4", "8", "12", "16"]


def test_the_best_classifier_is_kept_and_patience_ends_the_run(tmp_path):
    classifier = GPT2Classifier(text_model(context_length=16, num_layers=1), ["a", "b"])
    keeper = _Keeper(RunDirectory(tmp_path), 5, patience=2)
    keeper.set_model(classifier)
    classifier.stop_training = False
    kernels = []
    for epoch, loss in enumerate([2.0, 1.0, 3.0, 1.5]):
        assert not classifier.stop_training
        kernels.append(np.full(classifier.head.kernel.shape, epoch, "float32"))
        classifier.head.kernel.assign(kernels[-1])
        logs = {"loss": loss, "accuracy": 0.5, "val_loss": loss, "val_accuracy": 0.5}
        keeper.on_epoch_end(epoch, logs)
    best = GPT2Classifier.from_preset(tmp_path / "model")
    assert (keras.ops.convert_to_numpy(best.head.kernel) == kernels[1]).all()
    assert classifier.stop_training
    assert _Keeper(RunDirectory(tmp_path), 5, patience=2).is_over(99)
    assert not _Keeper(RunDirectory(tmp_path), 5, patience=0).is_over(99)


def test_prepare_takes_conversations(tmp_path):
    talk = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]
    file = write(tmp_path / "a.jsonl", [{"messages": talk}, {"messages": talk[:1]}])
    texts = list(read_texts([file], text_field="messages"))
    assert texts == ["User: a?\n\nAssistant: b", "User: a?"]
    file = write(tmp_path / "b.jsonl", [{"messages": [{"role": "bot", "content": "b"}]}])
    with pytest.raises(ValueError, match=r"b\.jsonl, line 1, message 1, is .*Use a `role`, one of"):
        list(read_texts([file], text_field="messages"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "sing"], "argument --task: invalid choice: 'sing'"),
        (["--task", "classify", "--data", "a"], "--task classify needs --init MODEL, to which it"),
        (["--task", "chat", "--data", "a"], "required: --tokenizer"),
        (
            ["--task", "classify", "--data", "a", "--init", "b", "--dry-run"],
            "--dry-run, --skip-batches and more --steps are not for --task classify",
        ),
    ],
)
def test_wrong_usage_exits_with_2(tmp_path, words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--out", str(tmp_path / "run"), *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_bad_examples_exit_with_1_and_leave_nothing(init, tmp_path, capsys):
    data, out = tmp_path / "a.jsonl", tmp_path / "run"
    write(data, [{"text": "a", "label": "x"}] * 3)
    assert train("classify", data, init, out) == 1
    assert "All 3 examples have the label 'x', and a classifier learns" in capsys.readouterr().err
    write(data, [{"text": "a"}])
    assert train("summarize", data, init, out) == 1
    assert "line 1, has summary=None, not a text" in capsys.readouterr().err
    assert not out.exists()
