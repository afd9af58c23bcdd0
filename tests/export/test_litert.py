import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.export import clients, litert_quantization
from gpt2_keras.export.text_graph import FINISH_REASONS
from gpt2_keras.litert_conversion import ConversionError, convert
from gpt2_keras.verification.litert_metadata import LiteRTContents, read_metadata
from tests.export.device_files import bare_file, text_file
from tests.models import random_ids, text_model

interpreter_module = pytest.importorskip(
    "ai_edge_litert.interpreter", reason="needs ai-edge-litert: pip install 'gpt2-keras[litert]'"
)


@pytest.fixture(scope="module")
def exported():
    """A model, its file, and an interpreter of it."""
    model, path = text_file()
    return model, path, interpreter_module.Interpreter(model_path=str(path))


def test_without_a_tokenizer_its_logits_are_those_of_the_model_at_every_length():
    model, path = bare_file()
    interpreter = interpreter_module.Interpreter(model_path=str(path))
    assert list(interpreter.get_signature_list()) == ["logits"]
    logits = interpreter.get_signature_runner("logits")
    for time in (1, 5, 32, 2):
        ids = random_ids((1, time), model.config, seed=time)
        expected = np.array(model(ids))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(logits(token_ids=ids)["logits"], expected, atol=1e-5 * scale)


def ask(interpreter, text, count=10, temperature=0.0, top_k=0, seed=0):
    """The answer of `generate`."""
    return interpreter.get_signature_runner("generate")(
        text=np.frombuffer(text.encode(), np.uint8),
        max_new_tokens=np.array([count], np.int32),
        temperature=np.array([temperature], np.float32),
        top_k=np.array([top_k], np.int32),
        seed=np.array([seed], np.int32),
    )


@pytest.mark.parametrize("prompt", ["the cat", "", "it's 42, the dog sat on the log", "zq" * 25])
@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 1.3, "seed": 7}, {"temperature": 0.8, "top_k": 5, "seed": -3}],
)
def test_it_generates_what_the_model_generates(exported, prompt, settings):
    model, _, interpreter = exported
    answer = ask(interpreter, prompt, **settings)
    settings = {"seed": 0, "temperature": 0.0, **settings}
    expected = model.generate_details(prompt, max_new_tokens=10, **settings)
    assert answer["token_ids"].tolist() == expected.token_ids
    assert answer["text"].tobytes().decode() == prompt + expected.text
    assert answer["text_bytes"].tobytes() == prompt.encode() + model.tokenizer.decode_bytes(
        expected.token_ids
    )
    assert answer["num_tokens"] == len(expected.token_ids)
    assert FINISH_REASONS[answer["finish_reason"]] == expected.finish_reason


def test_a_context_that_is_full_ends_the_text(exported):
    model, _, interpreter = exported
    answer = ask(interpreter, "zq" * 25, count=50)
    assert FINISH_REASONS[answer["finish_reason"]] == "context"
    assert (
        answer["token_ids"].tolist()
        == model.generate_details("zq" * 25, max_new_tokens=14).token_ids
    )
    longer = ask(interpreter, "zq" * 60, count=50)  # its end is read
    assert longer["num_tokens"] == 1
    assert FINISH_REASONS[longer["finish_reason"]] == "context"


def test_prefill_and_decode_give_the_logits_of_the_model(exported):
    model, _, interpreter = exported
    prefill = interpreter.get_signature_runner("prefill")
    decode = interpreter.get_signature_runner("decode")
    for length in (1, 2, 33, 60):  # one chunk holds 32
        ids = random_ids((64,), model.config, seed=length)
        answers = [prefill(token_ids=ids[:length])["logits"][0].copy()]
        for position in range(length, min(length + 4, 64)):
            step = decode(token_id=ids[position : position + 1], position=np.int32([position]))
            answers.append(step["logits"][0].copy())
        expected = np.array(model(ids[None, : length + len(answers) - 1]))[0, length - 1 :]
        np.testing.assert_allclose(answers, expected, atol=1e-5 * np.abs(expected).max())


def test_decode_may_go_on_into_the_next_block_and_back_into_an_earlier_one(exported):
    model, _, interpreter = exported
    decode = interpreter.get_signature_runner("decode")
    ids = random_ids((64,), model.config, seed=1)
    expected = np.array(model(ids[None]))[0]
    interpreter.get_signature_runner("prefill")(token_ids=ids[:30])
    answers = {}
    for position in (*range(30, 64), 5, 6, *range(31, 36)):  # a block has 32
        step = decode(token_id=ids[position : position + 1], position=np.int32([position]))
        answers.setdefault(position, []).append(step["logits"][0].copy())
    for position, logits in answers.items():
        wanted = np.broadcast_to(expected[position], (len(logits), len(expected[position])))
        np.testing.assert_allclose(logits, wanted, atol=1e-5 * np.abs(expected).max())


def test_a_text_may_fill_several_blocks(exported):
    model, _, interpreter = exported
    for prompt in ("the cat", "zq" * 16):  # the second fills a block
        answer = ask(interpreter, prompt, count=64)
        tokens = len(model.tokenizer.encode(prompt))
        expected = model.generate_details(prompt, max_new_tokens=64 - tokens)
        assert len(expected.token_ids) == 64 - tokens
        assert answer["token_ids"].tolist() == expected.token_ids


def test_signatures_do_not_disturb_each_other(exported):
    # They share loops, and the sizes of what goes into these differ from call to call.
    interpreter, random = exported[2], np.random.default_rng(0)
    text = b"the dog sat on the log, it's 42 o'clock " * 2

    def ask_some(name, size):
        if name == "generate":
            return ask(interpreter, text[:size].decode(), count=3)["token_ids"]
        runner = interpreter.get_signature_runner(name)
        if name in ("prefill", "detokenize"):
            return max(runner(token_ids=np.arange(size, dtype=np.int32)).items())[1]
        return max(runner(text=np.frombuffer(text[:size], np.uint8)).items())[1]

    names, known = ("generate", "next_token", "tokenize", "prefill", "detokenize"), {}
    for _ in range(60):
        call = (str(random.choice(names)), int(random.choice([10, 33, 50])))
        answer = ask_some(*call).copy()
        np.testing.assert_array_equal(answer, known.setdefault(call, answer))
    assert len(known) == 15


def test_next_token_gives_the_candidates_of_the_model(exported):
    model, _, interpreter = exported
    runner = interpreter.get_signature_runner("next_token")
    for prompt in ("the cat", "it's 42, the dog sat on the log"):
        answer = runner(text=np.frombuffer(prompt.encode(), np.uint8))
        expected = model.next_tokens(prompt)
        assert answer["ids"].tolist() == [candidate.id for candidate in expected]
        probabilities = [candidate.probability for candidate in expected]
        np.testing.assert_allclose(answer["probs"], probabilities, rtol=1e-4)


@pytest.mark.slow
def test_a_shorter_context_can_be_asked_for(tmp_path):
    model = text_model(context_length=64)
    path = model.export(tmp_path / "m.tflite", format="litert", context_length=20)
    answer = ask(interpreter_module.Interpreter(model_path=str(path)), "the cat", count=50)
    expected = model.generate_details("the cat", max_new_tokens=50)
    assert answer["token_ids"].tolist() == expected.token_ids[: answer["num_tokens"]]
    assert FINISH_REASONS[answer["finish_reason"]] == "context"


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("int8", 0.1)])
def test_weights_can_be_stored_smaller(exported, tmp_path, dtype, tolerance):
    model, path, interpreter = exported
    contents = path.read_bytes()
    assert litert_quantization.quantize(contents, "float32") == contents
    smaller = litert_quantization.quantize(contents, dtype)
    products = [v for v in model.weights if v.name == "kernel"]
    products.append(model.token_embedding.embeddings)
    count = sum(np.prod(variable.shape) for variable in products)
    saved = len(contents) - len(smaller)
    assert saved > 0.9 * {"float16": 2, "int8": 3}[dtype] * count - 2000  # less the scales
    assert LiteRTContents(np.frombuffer(smaller, np.uint8)).dtype() == dtype
    (tmp_path / "smaller.tflite").write_bytes(smaller)
    answers = []
    for runner in (interpreter, interpreter_module.Interpreter(str(tmp_path / "smaller.tflite"))):
        prefill = runner.get_signature_runner("prefill")
        answers.append(prefill(token_ids=np.arange(20, dtype=np.int32))["logits"].copy())
    difference = np.abs(answers[1] - answers[0]).max() / np.abs(answers[0]).max()
    assert 0 < difference < tolerance


def test_int4_is_for_all_weights_but_the_table_of_the_logits(tmp_path):
    # A table of over 256 KB, which the quantizer puts after the FlatBuffer.
    sizes = {"context_length": 32, "num_layers": 1, "num_heads": 2, "hidden_dim": 32}
    config = GPT2Config(vocab_size=9000, **sizes)
    model = GPT2LM(config)
    path = model.export(tmp_path / "m.tflite", format="litert", certificate=False)
    smaller = litert_quantization.quantize(path.read_bytes(), "int4")
    contents = flatbuffer_utils.read_model_from_bytearray(bytearray(smaller))
    four, eight = (
        {tuple(t.shape) for t in contents.subgraphs[0].tensors if t.type == number}
        for number in (schema.TensorType.INT4, schema.TensorType.INT8)
    )
    assert four == {(96, 32), (32, 32), (128, 32), (32, 128)}
    assert eight == {(9000, 32), (32, 32)}
    for dtype in ("int8", "int4"):
        quantized = litert_quantization.quantize(path.read_bytes(), dtype)
        assert LiteRTContents(np.frombuffer(quantized, np.uint8)).dtype() == dtype
    path.with_name("smaller.tflite").write_bytes(smaller)
    ids, answers = random_ids((1, 8), config), []
    for file in (path, path.with_name("smaller.tflite")):
        runner = interpreter_module.Interpreter(str(file)).get_signature_runner("logits")
        answers.append(runner(token_ids=ids)["logits"].copy())
    difference = np.abs(answers[1] - answers[0]).max() / np.abs(answers[0]).max()
    assert 1e-4 < difference < 0.2


def test_the_dtype_and_the_context_length_are_in_the_metadata(exported):
    written = read_metadata(exported[1].read_bytes())
    assert (written["weights"], written["config"]["context_length"]) == ("float32", 64)
    assert read_metadata(litert_quantization.quantize(exported[1].read_bytes(), "int8"))


def test_no_constant_is_in_the_file_twice(exported):
    contents = flatbuffer_utils.read_model(str(exported[1]))
    names = [graph.name.decode() for graph in contents.subgraphs]
    codes = [code.builtinCode for code in contents.operatorCodes]
    products = [
        sum(codes[op.opcodeIndex] == schema.BuiltinOperator.FULLY_CONNECTED for op in g.operators)
        for g in contents.subgraphs
    ]
    # the chunks of a prompt, the tokens that are generated, and one that `decode` is given
    assert sum(count > 0 for count in products) == 3, names
    constants = [buffer.data.tobytes() for buffer in contents.buffers if buffer.data is not None]
    assert len(set(constants)) == len(constants)
    weights = sum(4 * variable.shape.num_elements() for variable in exported[0].weights)
    assert sum(map(len, constants)) < weights + 1_000_000  # the tokenizer's tables are the rest


def test_an_op_that_the_converter_does_not_support_is_named_in_the_error():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def join(text):
        return {"text": tf.strings.reduce_join(text)}

    with pytest.raises(ConversionError, match=r"exit status 1\. All ops must .*ReduceJoin"):
        convert(tf.Module(), {"join": join})


def test_all_ops_are_builtin(exported):
    contents = schema.Model.GetRootAsModel(exported[1].read_bytes(), 0)
    codes = [contents.OperatorCodes(i).BuiltinCode() for i in range(contents.OperatorCodesLength())]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    print("ops of the .tflite:", *sorted(names[code] for code in codes))
    assert schema.BuiltinOperator.FULLY_CONNECTED in codes
    assert schema.BuiltinOperator.CUSTOM not in codes  # Flex ops are custom ones too


def test_its_signatures_are_named(exported):
    settings = ["max_new_tokens", "seed", "temperature", "text", "top_k"]
    answer = ["finish_reason", "num_tokens", "text", "text_bytes", "token_ids"]
    assert exported[2].get_signature_list() == {
        "generate": {"inputs": settings, "outputs": answer},
        "next_token": {"inputs": ["text"], "outputs": ["ids", "probs"]},
        "prefill": {"inputs": ["token_ids"], "outputs": ["logits"]},
        "decode": {"inputs": ["position", "token_id"], "outputs": ["logits"]},
        "tokenize": {"inputs": ["text"], "outputs": ["num_tokens", "token_ids"]},
        "detokenize": {"inputs": ["token_ids"], "outputs": ["text", "text_bytes"]},
    }


def test_a_process_with_litert_alone_continues_texts_as_generate_does(exported):
    model, path, _ = exported
    prompts = ["the cat", "é𝄞\n\n x"]
    program = clients.__path__[0] + "/ask_litert.py"
    code = (
        "import runpy, sys; program = sys.argv[1]; sys.argv = sys.argv[1:]\n"
        "runpy.run_path(program, run_name='__main__')\n"
        "print(sorted({'gpt2_keras', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    command = [sys.executable, "-I", "-c", code, program, str(path), "12", *prompts]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    answers, imported = result.stdout.splitlines()[-2:]
    assert json.loads(answers) == model.generate(prompts, max_new_tokens=12)
    assert imported == "[]"
