import base64
import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest

from gpt2_keras.understanding import Exploration, explore
from gpt2_keras.understanding.page import MODULES, frame_of, page_of, read, script_of
from gpt2_keras.understanding.page.packing import MAX_ATTENTION_BYTES, pack, pack_attention
from gpt2_keras.understanding.panels import with_panels
from tests.models import random_model, text_model

TEXT = "the cat sat on the log"
HOSTILE = "</script><script>alert(1)</script><!--\x00\x1b[31m\u202e é𝄞 \"'&amp;\r\n\u2028"


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=128)


@pytest.fixture(scope="module")
def exploration(model):
    return with_panels(model, explore(model, TEXT))


def data_of(page):
    """The data in a page."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def array(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_the_data_of_a_page_is_the_explorations(exploration):
    data = data_of(page_of([exploration]))
    (found,) = data["explorations"]
    assert found["ids"] == exploration.token_ids.tolist()
    assert found["logProbs"][0] is None
    np.testing.assert_allclose(found["logProbs"][1:], exploration.log_probs[1:], atol=1e-4)
    assert found["ranks"] == exploration.ranks.tolist()
    assert_ids(found["candidateIds"], exploration.candidate_ids)
    assert_ids(found["lensIds"], exploration.lens.ids[..., :5])
    assert_probabilities(found["lensProbs"], exploration.lens.probs[..., :5])
    for name, dtype, expected in (
        ("candidateProbs", "<f4", exploration.candidate_probs),
        ("lensRanks", "<u4", exploration.lens.ranks),
        ("lensKl", "<f4", exploration.lens.kl),
    ):
        np.testing.assert_array_equal(array(found[name], dtype), expected.ravel())
    panels = exploration.panels
    assert found["panels"]["ablatedShape"] == list(panels.ablated_ids.shape)
    assert_ids(found["panels"]["ablatedIds"], panels.ablated_ids)
    assert_probabilities(found["panels"]["ablatedProbs"], panels.ablated_probs)
    for name, dtype, expected in (
        ("attributions", "<f4", panels.attributions),
        ("contrasts", "<f4", panels.contrasts),
        ("ablatedLogProbs", "<f4", panels.ablated_log_probs),
    ):
        np.testing.assert_array_equal(array(found["panels"][name], dtype), expected.ravel())


def assert_ids(packed, expected):
    assert packed["bytes"] == 2
    np.testing.assert_array_equal(array(packed["data"], "<u2"), expected.ravel())


def assert_probabilities(packed, expected):
    np.testing.assert_allclose(array(packed, "<u2") / 65535, expected.ravel(), atol=0.5 / 65535)


def test_ids_beyond_two_bytes_have_four(exploration):
    wide = dataclasses.replace(exploration, candidate_ids=exploration.candidate_ids + 2**16)
    packed = pack([wide])["explorations"][0]["candidateIds"]
    assert packed["bytes"] == 4
    np.testing.assert_array_equal(array(packed["data"], "<u4"), wide.candidate_ids.ravel())


def unpacked(packed, heads, time):
    """Attention as the page reads it."""
    rows, scales = array(packed["rows"], "u1"), array(packed["scales"], "<u2")
    weights = np.zeros((heads, time, time))
    triangle = time * (time + 1) // 2
    for head in range(heads):
        for query in range(time):
            start = head * triangle + query * (query + 1) // 2
            scale = scales[head * time + query] / 65535 / 255
            weights[head, query, : query + 1] = rows[start : start + query + 1] * scale
    return weights


def test_attention_is_off_by_half_of_a_byte_of_its_row_at_most(exploration):
    data = data_of(page_of([exploration]))["explorations"][0]
    layers, heads, time, _ = exploration.attention.shape
    for layer in range(layers):
        found = unpacked(data["attention"][layer], heads, time)
        expected = exploration.attention[layer].astype("float64")
        largest = expected.max(axis=-1, keepdims=True)
        # Half of one of 255 steps, and the scale's own rounding up to the next of 65535.
        assert (np.abs(found - expected) <= largest * 0.5 / 255 + 2 / 65535).all()


def test_rows_of_zeros_are_packed():
    packed = pack_attention(np.zeros((1, 3, 3)))
    assert not unpacked(packed, 1, 3).any()


def test_only_its_own_script_and_style_may_run_and_nobody_is_asked(exploration):
    for live in (False, True):
        page = page_of([exploration], live=live)
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
        rules = dict(each.split(" ", 1) for each in policy.split("; "))
        assert rules["default-src"] == "'none'"
        assert rules.get("connect-src") == ("'self'" if live else None)
        for tag, name in (("style", "style-src"), ('script type="module"', "script-src")):
            body = re.search(f"<{tag}>(.*?)</{tag.split()[0]}>", page, re.DOTALL)[1]
            digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
            assert rules[name] == f"'sha256-{digest}'"
        assert not re.search(r"(src|href)=(?!\"data:,)", page.split('id="data"')[0])
        assert "unsafe" not in policy


def test_every_module_comes_after_those_it_imports():
    for index, name in enumerate(MODULES):
        imported = re.findall(r'from "\./(\S+)"', read(name))
        assert set(imported) <= set(MODULES[:index]), name
        for names, module in re.findall(r'import \{([^}]*)\} from "\./(\S+)"', read(name)):
            exported = re.findall(r"^export (?:function|class|const) (\w+)", read(module), re.M)
            assert {each.strip() for each in names.split(",") if each.strip()} <= set(exported)
    script = script_of(MODULES)
    assert "import " not in script.replace("// All", "")
    assert not re.search(r"^export ", script, re.M)
    assert "</script" not in script


def test_hostile_texts_stay_data(model):
    found = explore(model, HOSTILE, name="</script><!--<script>alert(1)</script>")
    page = page_of([found])
    assert page.count("</script>") == 2  # of the data, and of the script
    assert "alert(1)" not in page.split('id="data"')[0]
    assert data_of(page)["explorations"][0]["model"] == found.model
    assert "<!--" not in page.split('id="data">')[1].split("</script>")[0]
    data = data_of(page)
    shown = "".join(
        data["texts"].get(str(each), "") for each in found.token_ids[1:].tolist()
    )  # but for bytes of halves of characters
    assert "<script>" in shown or "script" in shown
    frame = frame_of([found])
    assert frame.startswith("<iframe srcdoc=")
    assert "<script" not in frame


def test_bytes_that_are_no_text_are_shown_as_bytes(model):
    found = explore(model, "é𝄞")
    data = data_of(page_of([found]))
    shown = [data["bytes"].get(str(each)) for each in found.token_ids[1:].tolist()]
    assert bytes.fromhex("".join(each or "" for each in shown)) == "é𝄞".encode()
    assert "ï¿½" not in json.dumps(data)
    assert "�" not in json.dumps(data["texts"], ensure_ascii=False)


def test_the_page_of_a_model_without_tokenizer_shows_ids(tmp_path):
    path = explore(random_model(), [1, 2, 3]).to_html(tmp_path / "page.html")
    assert data_of(path.read_text("utf-8"))["texts"] == {}


def test_the_files_are_written_as_a_whole_and_nothing_is_overwritten(exploration, tmp_path):
    path = exploration.to_html(tmp_path / "new" / "page.html")
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"page\.html exists, and nothing is overwritten"):
        exploration.to_html(path)
    assert path.read_bytes() == before
    too_large = with_attention(exploration, time=1024, layers=12, heads=12)
    with pytest.raises(ValueError, match="Choose up to"):
        too_large.to_html(tmp_path / "large.html")
    assert [each.name for each in tmp_path.rglob("*.html")] == ["page.html"]


def with_attention(exploration, time, layers, heads):
    """An exploration of another size, of which only the size is true."""
    attention = np.broadcast_to(np.float16(0), (layers, heads, time, time))
    return dataclasses.replace(exploration, attention=attention, layers=tuple(range(layers)))


def test_1024_tokens_are_too_many_for_all_layers_and_those_that_fit_are_told(exploration):
    whole = with_attention(exploration, 1024, 12, 12)
    message = r"The attention of 12 layers of 12 heads to 1024 tokens is 96 MB, and a page holds"
    with pytest.raises(ValueError, match=message) as caught:
        pack([whole])
    named = re.search(r"by `layers`, for example ([\d, ]+\d), or a shorter", str(caught.value))[1]
    layers = [int(each) for each in named.split(", ")]
    assert layers == list(range(12))[-len(layers) :]
    assert _size(whole, len(layers)) <= MAX_ATTENTION_BYTES < _size(whole, len(layers) + 1)


def _size(exploration, layers):
    _, heads, time, _ = exploration.attention.shape
    return layers * heads * (time * (time + 1) // 2 + 2 * time) * 4 // 3


def test_models_are_compared_token_by_token(model, exploration):
    other = text_model(seed=1, context_length=128)
    pages = pack([exploration, explore(other, TEXT, name="other")])
    assert [each["model"] for each in pages["explorations"]][1] == "other"
    with pytest.raises(ValueError, match="one reads the text as 2 tokens and GPT-2"):
        pack([exploration, explore(other, [5, 6], name="one")])
    assert isinstance(exploration, Exploration)
    assert model.config.context_length == 128


def test_a_notebook_shows_the_page(exploration):
    html = exploration._repr_html_()
    assert 'sandbox="allow-scripts"' in html
    assert "Inside GPT-2" in html
