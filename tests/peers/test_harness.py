"""The back end of lm-evaluation-harness beside the harness' own `hf`, on one checkpoint."""

import importlib.metadata
import json
import subprocess
import sys

import pytest
import yaml

lm_eval = pytest.importorskip("lm_eval")
pytest.importorskip("transformers")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from lm_eval.tasks.hellaswag.utils import preprocess  # noqa: E402
from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer  # noqa: E402

from gpt2_keras.evaluation import detokenize, evaluate_task  # noqa: E402
from gpt2_keras.evaluation.harness import GPT2KerasLM  # noqa: E402
from tests.evaluation.data_sets import (  # noqa: E402
    HELLASWAG,
    LAMBADA,
    WIKITEXT,
    hellaswag_lines,
    lambada_lines,
)
from tests.models import CORPUS, text_model  # noqa: E402

CONTEXT = 48
LONG = CORPUS[0] * 8  # several contexts
PAIRS = [
    ("the cat sat on the", " mat"),
    ("the cat sat on the ", "mat"),  # the space moves to the continuation
    ("the cat  \n ", "sat"),
    ("", "the dog sat"),
    ("", " the"),
    (LONG, " the dog sat on the log"),
    (LONG + " ", "the"),
    ("it's 42", " o'clock! é𝄞"),
    ("the cat<|endoftext|>the", " dog"),
    ("a", LONG[:60]),
]
TEXTS = ["the cat sat", "", LONG, "é𝄞\n\n x", CORPUS[0][:100], LONG + LONG]
PROMPTS = [
    ("the cat", {"until": ["."], "max_gen_toks": 8}),
    ("it's 42, and the", {"until": ["."], "max_gen_toks": 8}),
    (LONG, {"until": ["\n", "the"], "max_gen_toks": 20}),
    ("the dog ", {"max_gen_toks": 20}),
    ("the", {"until": "sat", "max_gen_toks": 12, "do_sample": False}),
    ("a", {"until": [], "max_gen_toks": 30, "temperature": 0.0}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model directory, its SavedModel and its `.tflite` file."""
    home = tmp_path_factory.mktemp("harness")
    model = text_model(context_length=CONTEXT)
    model.save_to_preset(home / "model")
    # transformers' tokenizers read an end token in a text as one.
    model.tokenizer = model.tokenizer.with_special_tokens_policy("all")
    model.export(home / "saved", warmup=False, certificate=False, on_invalid_text="accept")
    model.export(home / "model.tflite", format="litert", certificate=False)
    return home


@pytest.fixture(scope="module")
def theirs(folder):
    return HFLM(pretrained=str(folder / "model"), device="cpu", batch_size=4, dtype="float32")


MODELS = {
    "pretrained": {"pretrained": "model", "batch_size": 3},
    "one by one": {"pretrained": "model", "batch_size": 1},
    "chosen batch": {"pretrained": "model", "batch_size": "auto"},
    "saved_model": {"saved_model": "saved", "batch_size": 2},
    "tflite": {"tflite": "model.tflite"},
}


@pytest.fixture(scope="module", params=MODELS)
def ours(request, folder):
    arguments = dict(MODELS[request.param])
    for name in ("pretrained", "saved_model", "tflite"):
        if name in arguments:
            arguments[name] = str(folder / arguments[name])
    return GPT2KerasLM(**arguments)


def requests(kind, rows):
    return [Instance(kind, {}, row, index) for index, row in enumerate(rows)]


def test_log_likelihoods_and_greedy_flags_are_those_of_hf(ours, theirs):
    asked = requests("loglikelihood", PAIRS)
    expected = theirs.loglikelihood(asked, disable_tqdm=True)
    found = ours.loglikelihood(asked, disable_tqdm=True)
    for (loss, greedy), (their_loss, their_greedy) in zip(found, expected, strict=True):
        assert loss == pytest.approx(their_loss, abs=1e-3)
        assert greedy == their_greedy


def test_the_most_likely_continuation_is_greedy_in_both(ours, theirs):
    (text,) = theirs.generate_until(
        requests("generate_until", [("the cat", {"until": [], "max_gen_toks": 3})])
    )
    asked = requests("loglikelihood", [("the cat", text), ("the cat", text + "q")])
    greedy = [flag for _, flag in ours.loglikelihood(asked, disable_tqdm=True)]
    assert greedy == [flag for _, flag in theirs.loglikelihood(asked, disable_tqdm=True)]
    assert greedy == [True, False]


def test_rolling_log_likelihoods_are_those_of_hf(ours, theirs):
    asked = requests("loglikelihood_rolling", [(text,) for text in TEXTS])
    expected = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    found = ours.loglikelihood_rolling(asked, disable_tqdm=True)
    assert found == pytest.approx(expected, abs=1e-3)
    assert ours.loglikelihood_rolling([], disable_tqdm=True) == []


def test_generated_texts_are_those_of_hf(ours, theirs):
    asked = requests("generate_until", PROMPTS)
    expected = theirs.generate_until(asked, disable_tqdm=True)
    assert ours.generate_until(asked, disable_tqdm=True) == expected


TASKS = {
    "local_loglikelihood": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
        "doc_to_target": "{{' '+text.split(' ')[-1]}}",
        "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
    },
    "local_choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{label}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "local_choice_few_shot": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{label}}",
        "doc_to_choice": "{{choices}}",
        "fewshot_split": "test",
        "num_fewshot": 2,
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "local_rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    },
    "local_generate": {
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "the",
        "generation_kwargs": {"until": ["."], "max_gen_toks": 6},
        "metric_list": [{"metric": "exact_match"}],
    },
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """The manager of local tasks of every output type, and their folder."""
    home = tmp_path_factory.mktemp("tasks")
    rows = [
        {"text": text, "context": text[:7], "choices": [" sat", " the mat", "!"], "label": i % 3}
        for i, text in enumerate([*LAMBADA, CORPUS[0][:90], LONG])
    ]
    data = home / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, fields in TASKS.items():
        common = {"task": name, "dataset_path": "json", "test_split": "test"}
        files = {"dataset_kwargs": {"data_files": {"test": str(data)}}}
        (home / f"{name}.yaml").write_text(yaml.safe_dump({**common, **files, **fields}))
    return TaskManager(include_path=str(home), include_defaults=False), home


def test_the_metrics_of_local_tasks_are_those_of_hf(ours, theirs, tasks):
    results = [
        lm_eval.simple_evaluate(
            model=each, tasks=list(TASKS), task_manager=tasks[0], bootstrap_iters=0, random_seed=0,
            numpy_random_seed=0, torch_random_seed=0, fewshot_random_seed=0,
        )["results"]
        for each in (ours, theirs)
    ]  # fmt: skip
    assert set(results[0]) == set(TASKS)
    for name in TASKS:
        found, expected = (
            {k: v for k, v in each[name].items() if isinstance(v, float)} for each in results
        )
        assert found == pytest.approx(expected, rel=1e-4)
        assert found


def test_what_is_wrong_is_told(folder, monkeypatch):
    path = str(folder / "model")
    with pytest.raises(
        ValueError, match=r"^No model given to gpt2-keras\. Name one of pretrained="
    ):
        GPT2KerasLM()
    with pytest.raises(ValueError, match=r"^pretrained and tflite given to gpt2-keras\. Name one"):
        GPT2KerasLM(pretrained=path, tflite="a")
    with pytest.raises(
        TypeError, match=r"^parallelize: no argument of gpt2-keras\. Use pretrained"
    ):
        GPT2KerasLM(pretrained=path, parallelize=True)
    with pytest.raises(ValueError, match=r"^batch_size='0' is no integer of at least 1\."):
        GPT2KerasLM(pretrained=path, batch_size="0")
    with pytest.raises(ValueError, match=r"^max_length=99 is not from 2 to 48, the context"):
        GPT2KerasLM(pretrained=path, max_length=99)
    with pytest.raises(FileNotFoundError, match=r"gpt2_keras\.json does not exist\. saved_model="):
        GPT2KerasLM(saved_model=path)
    with pytest.raises(
        FileNotFoundError, match=r"^none\.tflite does not exist\. Check the spelling"
    ):
        GPT2KerasLM(tflite="none.tflite")
    bare = folder / "bare.tflite"
    without = text_model(context_length=CONTEXT, num_layers=1)
    without.tokenizer = None
    without.export(bare, format="litert", certificate=False)
    with pytest.raises(
        ValueError, match=r"bare\.tflite has no metadata of a model with a tokenizer"
    ):
        GPT2KerasLM(tflite=str(bare))
    model = GPT2KerasLM(pretrained=path, max_length=20)
    with pytest.raises(
        ValueError, match=r"^max_gen_toks=20 leaves no room .* max_length=20\. Use at"
    ):
        model.generate_until(requests("generate_until", [("a", {"max_gen_toks": 20})]))
    with pytest.raises(ValueError, match=r"^num_beams=3 in the generation settings of the task is"):
        model.generate_until(
            requests("generate_until", [("a", {"max_gen_toks": 2, "num_beams": 3})])
        )
    with pytest.raises(ValueError, match=r"The continuation 'the cat.* 21 tokens|tokens to score"):
        model.loglikelihood(requests("loglikelihood", [("a", LONG)]), disable_tqdm=True)
    for name, file in (("saved_model", "saved"), ("tflite", "model.tflite")):
        artifact = GPT2KerasLM(**{name: str(folder / file)})
        asked = {"max_gen_toks": 2, "do_sample": True, "temperature": 1.0, "min_p": 0.1}
        with pytest.raises(ValueError, match=f"cannot be set with {name}="):
            artifact.generate_until(requests("generate_until", [("a", asked)]))


def test_a_shorter_length_is_kept_by_both(folder):
    arguments = {"pretrained": str(folder / "model"), "max_length": 16}
    both = GPT2KerasLM(**arguments), HFLM(**arguments, device="cpu", dtype="float32")
    asked = requests("loglikelihood", PAIRS[:-1])
    found, expected = (each.loglikelihood(asked, disable_tqdm=True) for each in both)
    assert [x for x, _ in found] == pytest.approx([x for x, _ in expected], abs=1e-3)
    asked = requests("loglikelihood_rolling", [(text,) for text in TEXTS])
    found, expected = (each.loglikelihood_rolling(asked, disable_tqdm=True) for each in both)
    assert found == pytest.approx(expected, abs=1e-3)


def test_sampled_texts_are_those_of_generate(folder):
    model = GPT2KerasLM(pretrained=str(folder / "model"))
    asked = {"max_gen_toks": 6, "do_sample": True, "temperature": 0.8, "top_k": 5, "seed": 3}
    (text,) = model.generate_until(requests("generate_until", [("the cat", asked)]))
    expected = text_model(context_length=CONTEXT).generate(
        "the cat", max_new_tokens=6, temperature=0.8, top_k=5, seed=3, strip_prompt=True,
        stop="<|endoftext|>",
    )  # fmt: skip
    assert text == expected


def test_the_command_hands_its_words_to_the_harness(folder, tasks, tmp_path):
    program = [sys.executable, "-m", "gpt2_keras.cli.main", "lm-eval"]
    words = ["--model_args", f"pretrained={folder / 'model'}", "--tasks", "local_loglikelihood"]
    words += ["--include_path", str(tasks[1]), "--output_path", str(tmp_path / "out")]
    ran = subprocess.run([*program, *words], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "local_loglikelihood" in ran.stdout
    assert "gpt2-keras (" in ran.stdout
    ran = subprocess.run([*program, "--tasks", "no_such_task", "--model_args", "pretrained=x"],
                         capture_output=True, text=True, cwd=tmp_path)  # fmt: skip
    assert ran.returncode != 0
    assert "no_such_task" in ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr


def test_our_detokenizers_are_those_of_the_harness():
    texts = [
        WIKITEXT,
        "the dogs ' tails \" a b \" ( x ) [ y ] 's N 5 ° \n = = = a = = =\n \n b @.@ c",
    ]
    for text in texts:
        assert detokenize(text, "wikitext-harness") == wikitext_detokenizer({"page": text})
    for text in [*HELLASWAG[0]["endings"], "  a [title]  b [x] c  "]:
        assert detokenize(text, "hellaswag") == preprocess(text)


def test_the_protocols_of_lm_eval_give_what_the_harness_gives(folder, theirs, tmp_path):
    model = text_model(context_length=CONTEXT)
    file = tmp_path / "lambada.jsonl"
    file.write_text(lambada_lines())
    found = evaluate_task(model, "lambada-openai", file, protocol="lm-eval").measures
    pairs = [(text.rpartition(" ")[0], " " + text.rpartition(" ")[2]) for text in LAMBADA]
    answers = theirs.loglikelihood(requests("loglikelihood", pairs), disable_tqdm=True)
    from lm_eval.api.metrics import perplexity

    losses = [loss for loss, _ in answers]
    assert found["perplexity"] == pytest.approx(perplexity(losses), rel=1e-3)
    file = tmp_path / "hellaswag.jsonl"
    file.write_text(hellaswag_lines())
    found = evaluate_task(model, "hellaswag", file, protocol="lm-eval").measures
    row = HELLASWAG[0]
    context = preprocess(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
    choices = [preprocess(each) for each in row["endings"]]
    asked = requests("loglikelihood", [(context, f" {choice}") for choice in choices])
    losses = [loss for loss, _ in theirs.loglikelihood(asked, disable_tqdm=True)]
    assert found["accuracy"] == (max(range(4), key=losses.__getitem__) == row["label"])
    by_length = [loss / len(choice) for loss, choice in zip(losses, choices, strict=True)]
    expected = max(range(4), key=by_length.__getitem__) == row["label"]
    assert found["accuracy_by_character"] == expected


def test_the_entry_point_is_the_back_end():
    (point,) = importlib.metadata.entry_points(group="lm_eval.models", name="gpt2-keras")
    assert point.load() is GPT2KerasLM
