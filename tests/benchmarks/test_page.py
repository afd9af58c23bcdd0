"""docs/benchmarks.md shows what the programs have measured, and nothing else."""

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def figures(text):
    """Returns the numbers of a text in their order, as they are written."""
    return re.findall(r"\d+(?:\.\d+)?", text)


def section_of(title):
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def prose_figures(title):
    """Returns the numbers of a section outside its tables."""
    lines = section_of(title).splitlines()
    return set(figures(" ".join(line for line in lines if not line.startswith("|"))))


@pytest.fixture
def benchmark(monkeypatch):
    """Loads a program of benchmarks/ and its results."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def load(name):
        program = runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))
        return program, json.loads(program["RESULT"].read_text(encoding="utf-8"))

    return load


@pytest.mark.parametrize(
    "name", ["generation", "loading", "on_device", "pipeline", "serving", "training"]
)
def test_its_tables_are_what_the_program_prints(benchmark, name):
    program, results = benchmark(name)
    assert program["markdown"](results).rstrip("\n") in PAGE


def test_what_it_says_of_memory_while_generating_was_measured(benchmark):
    _, results = benchmark("generation")
    peaks = {
        peer: max(case[peer]["peak_megabytes"] for case in results["cases"].values())
        for peer in ("gpt2_keras", "gpt2_keras_jit", "keras_hub")
    }
    measured = [*peaks.values(), results["bare_tensorflow_megabytes"]]
    assert {f"{megabytes:.0f}" for megabytes in measured} <= prose_figures("Generation")


def test_the_pipeline_takes_less_than_a_thousandth_of_a_step(benchmark):
    training = benchmark("training")[1]
    for case, engines in benchmark("pipeline")[1]["cases"].items():
        if (shape := case.split(", ")[1]) in training["shapes"]:
            step = training["shapes"][shape]["gpt2_keras"]["tokens_per_second"]
            assert step / training["cores"] / engines["tf.data"]["tokens_per_cpu_second"] < 1e-3


def test_what_it_says_of_warming_up_was_measured(benchmark):
    _, results = benchmark("serving")
    warm = results["warm_up_seconds"]
    measured = warm["warm_up"], 1000 * warm["first_answer_after_it"]
    assert {f"{figure:.0f}" for figure in measured} <= prose_figures("Serving")


def test_its_tokenizer_figures_are_those_of_the_benchmark():
    lines = [
        line.strip("| ").split(" | ")
        for line in section_of("The tokenizer").splitlines()
        if line.startswith("|")
    ]
    rows = {name: cells for name, *cells in lines}
    path = ROOT / "benchmarks" / "results" / "tokenizer.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    for name, speed in report["bulk_megabytes_per_cpu_second"].items():
        ours = speed["gpt2_keras graph"]
        hub = max(speed["KerasHub eager"], speed["KerasHub graph"])
        measured = [ours, ours / speed["tiktoken"], ours / speed["tokenizers"], ours / hub]
        measured.append(speed["gpt2_keras tf.data"] / speed["KerasHub tf.data"])
        assert rows[name] == [f"{figure:.2f}" for figure in measured]
    for name, delays in report["latency_milliseconds"].items():
        short, long, first = (delays[key] for key in ("20 tokens", "500 tokens", "first call"))
        assert rows[name] == [f"{short:.2f}", f"{long:.2f}", f"{first:.0f}"]
    megabytes = report["latency_milliseconds"]["LiteRT"]["file megabytes"]
    memory = report["memory_bytes_per_text_byte"].values()
    measured = {f"{megabytes:.2f}", *(f"{size:.0f}" for size in memory)}
    assert measured <= prose_figures("The tokenizer")


def test_the_ratios_of_the_readme_are_those_of_the_results(benchmark):
    speeds = {
        "training, tokens/s": {
            peer: row["tokens_per_second"]
            for peer, row in benchmark("training")[1]["shapes"]["M"].items()
        },
        ".tflite": {
            peer: 1 / row["generate"]
            for peer, row in benchmark("on_device")[1]["threads"]["2"].items()
        },
    }
    for case, row in benchmark("generation")[1]["cases"].items():
        speeds[case] = {peer: figures["decode_tokens_per_second"] for peer, figures in row.items()}
    for peer, row in benchmark("serving")[1]["requests_per_second"].items():
        speeds.setdefault("serving", {})[peer] = row["batch 8"]

    def ratios(what, peers, ours="gpt2_keras"):
        return [f"{speeds[what][ours] / speeds[what][peer]:.2f}" for peer in peers]

    one, eight = "batch 1, prompt 32, 128 new", "batch 8, prompt 32, 128 new"
    torch = ("keras_hub", "transformers", "torch", "torch_compile")
    hub = ("keras_hub", "ctranslate2")
    expected = {
        "training": ratios("training, tokens/s", torch),
        "generating, batch 8": ratios(eight, hub),
        "generating, batch 1": ratios(one, hub),
        "the same, `jit_compile=True`": ratios(one, hub, "gpt2_keras_jit"),
        "serving text, batch 8": ratios("serving", hub, "saved_model"),
        "`.tflite`, `generate`": ratios(".tflite", hub, "float32")
        + ratios(".tflite", ["llama_f16"], "float16"),
        "`.tflite` int8, `generate`": ratios(".tflite", ["ctranslate2_int8", "llama_q8"], "int8"),
    }
    table = {
        cells[0]: [figure for cell in cells[1:] for figure in re.findall(r"([\d.]+) ×", cell)]
        for line in README.splitlines()
        if line.startswith("| ")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    assert {name: table[name] for name in expected} == expected
