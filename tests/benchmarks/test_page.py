"""docs/benchmarks.md shows what the programs have measured, and nothing else."""

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


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
    section = " ".join(PAGE.split("## Generation")[1].split("\n## ")[0].split())
    peaks = {
        peer: max(case[peer]["peak_megabytes"] for case in results["cases"].values())
        for peer in ("gpt2_keras", "keras_hub")
    }
    assert f"{peaks['gpt2_keras']:.0f} MB, KerasHub {peaks['keras_hub']:.0f}" in section
    assert f"TensorFlow alone {results['bare_tensorflow_megabytes']:.0f}" in section


def test_the_pipeline_takes_less_than_a_thousandth_of_a_step(benchmark):
    training = benchmark("training")[1]
    for case, engines in benchmark("pipeline")[1]["cases"].items():
        if (shape := case.split(", ")[1]) in training["shapes"]:
            step = training["shapes"][shape]["gpt2_keras"]["tokens_per_second"]
            assert step / training["cores"] / engines["tf.data"]["tokens_per_cpu_second"] < 1e-3


def test_what_it_says_of_warming_up_was_measured(benchmark):
    _, results = benchmark("serving")
    warm = results["warm_up_seconds"]
    after = 1000 * warm["first_answer_after_it"]
    sentence = f"takes {warm['warm_up']:.0f} s; a request after it {after:.0f} ms"
    assert sentence in " ".join(PAGE.split())


def test_its_tokenizer_figures_are_those_of_the_benchmark():
    section = PAGE.split("## The tokenizer\n")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    rows = {name: cells for name, *cells in lines}
    path = ROOT / "benchmarks" / "results" / "tokenizer.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    for name, speed in report["bulk_megabytes_per_cpu_second"].items():
        ours = speed["gpt2_keras graph"]
        hub = max(speed["KerasHub eager"], speed["KerasHub graph"])
        figures = [ours, ours / speed["tiktoken"], ours / speed["tokenizers"], ours / hub]
        figures.append(speed["gpt2_keras tf.data"] / speed["KerasHub tf.data"])
        assert rows[name] == [f"{figure:.2f}" for figure in figures]
    for name, delays in report["latency_milliseconds"].items():
        short, long, first = (delays[key] for key in ("20 tokens", "500 tokens", "first call"))
        assert rows[name] == [f"{short:.2f}", f"{long:.2f}", f"{first:.0f}"]
    assert f"{report['latency_milliseconds']['LiteRT']['file megabytes']:.2f} MB" in section
    small, large = report["memory_bytes_per_text_byte"].values()
    assert f"{small:.0f} bytes for each of 4 MB, {large:.0f} for each of 16 MB" in section


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

    def ratio(what, peer, ours="gpt2_keras"):
        return f"{speeds[what][ours] / speeds[what][peer]:.2f} ×"

    one, eight = "batch 1, prompt 32, 128 new", "batch 8, prompt 32, 128 new"
    train = "training, tokens/s"
    for row in (
        f"| training | {ratio(train, 'keras_hub')} | transformers {ratio(train, 'transformers')}, "
        f"PyTorch {ratio(train, 'torch')}, compiled {ratio(train, 'torch_compile')} |",
        f"| generating, batch 8 | {ratio(eight, 'keras_hub')} | "
        f"CTranslate2 {ratio(eight, 'ctranslate2')} |",
        f"| generating, batch 1 | {ratio(one, 'keras_hub')} | "
        f"CTranslate2 {ratio(one, 'ctranslate2')} |",
        f"| serving text, batch 8 | {ratio('serving', 'keras_hub', 'saved_model')} | "
        f"CTranslate2 {ratio('serving', 'ctranslate2', 'saved_model')} |",
        f"| `.tflite`, `generate` | {ratio('.tflite', 'keras_hub', 'float32')} | "
        f"CTranslate2 {ratio('.tflite', 'ctranslate2', 'float32')}, "
        f"llama.cpp f16 {ratio('.tflite', 'llama_f16', 'float16')} |",
        "| `.tflite` int8, `generate` | | "
        f"CTranslate2 int8 {ratio('.tflite', 'ctranslate2_int8', 'int8')}, "
        f"llama.cpp q8_0 {ratio('.tflite', 'llama_q8', 'int8')} |",
    ):
        assert row in README, row
