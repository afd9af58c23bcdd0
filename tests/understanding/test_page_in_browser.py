"""The page in headless Chromium, clicked and typed into: it shows the numbers of Python."""

import dataclasses
import re

import numpy as np
import pytest

from gpt2_keras.cli.explore_table import visible
from gpt2_keras.understanding import explore
from gpt2_keras.understanding.page import page_of
from gpt2_keras.understanding.panels import targets_of, with_panels
from gpt2_keras.understanding.server import ExplorerServer, serving
from tests.models import text_model
from tests.understanding.browser import needs_browser, use

pytestmark = [pytest.mark.slow, needs_browser]

TEXT = "the cat sat on the log\nand the dog"
CHOSEN = 3  # the position after which the chosen prediction is made


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


@pytest.fixture(scope="module")
def exploration(model):
    return with_panels(model, explore(model, TEXT))


@pytest.fixture(scope="module")
def page(exploration, tmp_path_factory):
    return exploration.to_html(tmp_path_factory.mktemp("page") / "page.html").as_uri()


@pytest.fixture(scope="module")
def seen(page):
    """The page as it opens; then a token, its foil, a head, and more are chosen."""
    return use(
        page,
        {"read": "first"},
        {"click": f'#text [data-index="{CHOSEN + 1}"]'},
        {"read": "chosen"},
        {"click": '#attribution .choice [data-value="true"]'},
        {"click": '#ablation [data-head="1.0"]'},
        {"read": "against"},
        {"click": ".heads"},
        {"key": "ArrowUp"},
        {"key": "ArrowLeft"},
        {"key": "ArrowRight"},
        {"click": "#without-first"},
        {"read": "head"},
        {"hover": [".map", 0.01, 0.99]},
        {"read": "pointed"},
        {"click": f'#lens [data-point="1"][data-position="{CHOSEN}"]'},
        {"read": "lens"},
        {"click": f'#text [data-index="{CHOSEN + 1}"]'},
        {"key": "ArrowLeft"},
        {"key": "ArrowLeft"},
        {"read": "left"},
        {"key": "End"},
        {"read": "end"},
        {"key": "Home"},
        {"focus": '#attention [aria-label="Layer"]'},
        {"key": "ArrowDown"},
        {"read": "select"},
        {"click": '#text [data-value="bits"]'},
        {"read": "home"},
    )


def test_it_asks_nobody_and_breaks_no_rule_of_its_own(seen, page):
    assert seen["errors"] == []
    assert [each for each in seen["requests"] if " data:" not in each] == [f"GET {page}"]


def test_it_opens_with_the_prediction_after_the_text(seen, exploration):
    first = seen["read"]["first"]
    assert first["position"] == len(exploration.token_ids) - 1
    assert [each["chosen"] for each in first["tokens"]][-1] is True
    assert first["tokens"][-1]["text"] == "next?"
    assert first["tokens"][0] == {"text": "<|endoftext|>", "kind": "token given", "chosen": False}
    assert "".join(each["text"] for each in first["tokens"][1:-1]) == TEXT.replace(
        " ", "␣"
    ).replace("\n", "↵")
    assert min(first["colours"]) > 2


def test_tokens_are_coloured_by_rank_and_by_bits(seen, exploration):
    limits = [1, 10, 100, 1000, np.inf]
    ranks = [next(i for i, limit in enumerate(limits) if rank <= limit)
             for rank in exploration.ranks[1:]]  # fmt: skip
    found = [each["kind"] for each in seen["read"]["first"]["tokens"][1:-1]]
    assert found == [f"token level-{level}" for level in ranks]
    limits = [1, 3.4, 6.7, 10, np.inf]
    bits = [next(i for i, limit in enumerate(limits) if each <= limit)
            for each in exploration.bits[1:]]  # fmt: skip
    found = [each["kind"] for each in seen["read"]["home"]["tokens"][1:-1]]
    assert found == [f"token level-{level}" for level in bits]


def test_a_click_on_a_token_makes_every_panel_about_its_prediction(seen, exploration):
    shown = seen["read"]["chosen"]
    target = exploration.token_ids[CHOSEN + 1]
    assert shown["position"] == CHOSEN
    assert f"rank {exploration.ranks[CHOSEN + 1]}, " in shown["summary"]
    assert f"{exploration.bits[CHOSEN + 1]:.2f} bits" in shown["summary"]
    candidates = shown["candidates"]
    ids = exploration.candidate_ids[CHOSEN].tolist()
    assert [each["id"] for each in candidates][: len(ids)] == ids
    np.testing.assert_allclose(
        [each["probability"] for each in candidates][: len(ids)],
        exploration.candidate_probs[CHOSEN],
        rtol=1e-6,
    )
    marked = [each for each in candidates if each["isTarget"]]
    assert [each["id"] for each in marked] == [target]
    assert marked[0]["rank"] == exploration.ranks[CHOSEN + 1]
    values = exploration.panels.attributions[CHOSEN, : CHOSEN + 1]
    assert_bars(shown["attribution"], values)
    assert shown["ranks"] == "Rank at each step: " + ", ".join(
        map(str, exploration.lens.ranks[:, CHOSEN])
    )
    assert_bars(shown["looksAt"], attention_row(exploration, 0, 0), tolerance=0.01)


def assert_bars(shown, values, tolerance=1e-6):
    """The largest values are shown with their indices, the largest first."""
    order = np.argsort(-np.abs(values), kind="stable")[:8]
    found = np.array([value for _, value in shown])
    assert len(shown) == len(order)
    np.testing.assert_allclose(found, values[[index for index, _ in shown]], atol=tolerance)
    np.testing.assert_allclose(np.abs(found), np.abs(values[order]), atol=tolerance)


def shown_token(model, token_id):
    """How the page shows a token: one of bytes that are no text by these."""
    data = model.tokenizer.decode_bytes([int(token_id)])
    try:
        return visible(data.decode())
    except UnicodeDecodeError:
        return f"⟨{data.hex(' ')}⟩"


def attention_row(exploration, layer, head):
    return exploration.attention[layer, head, CHOSEN, : CHOSEN + 1].astype("float64")


def test_it_is_explained_against_another_token(seen, exploration, model):
    shown = seen["read"]["against"]
    assert_bars(shown["attribution"], exploration.panels.contrasts[CHOSEN, : CHOSEN + 1])
    foil = shown_token(model, exploration.panels.foils[CHOSEN])
    assert shown["why"][1][0].endswith(f"and not {foil}")
    assert [pressed for _, pressed in shown["why"]] == ["false", "true"]


def test_a_head_is_taken_out(seen, exploration):
    shown = seen["read"]["against"]
    panels = exploration.panels
    before = exploration.log_probs[CHOSEN + 1]
    changes = dict(shown["ablation"])
    for layer, head in np.ndindex(2, 2):
        expected = (before - panels.ablated_log_probs[layer, head, CHOSEN]) / np.log(2)
        assert changes[f"{layer}.{head}"] == pytest.approx(expected, abs=1e-3)
    assert shown["pairs"][1].startswith("Without 1.0: ")
    np.testing.assert_array_equal(
        [token for token, _ in shown["without"]], panels.ablated_ids[1, 0, CHOSEN]
    )
    np.testing.assert_allclose(
        [value for _, value in shown["without"]], panels.ablated_probs[1, 0, CHOSEN], atol=1e-5
    )


def test_the_arrow_keys_choose_a_head_and_the_first_position_is_hidden(seen, exploration):
    shown = seen["read"]["head"]
    assert shown["head"] == ["0", "1"]
    row = attention_row(exploration, 0, 1)
    row[0] = 0
    assert_bars(shown["looksAt"], row / row.sum(), tolerance=0.01)
    assert shown["colours"] != seen["read"]["chosen"]["colours"]


def test_the_map_is_read_where_one_points(seen, exploration):
    readout = seen["read"]["pointed"]["readout"]
    last = len(exploration.token_ids) - 1
    assert readout.startswith(f"{last} ")
    assert "looks at 0 <|endoftext|>: 0 %" in readout.replace("0.0", "0")


def test_a_point_of_the_lens_is_described(seen, exploration, model):
    details = seen["read"]["lens"]["lensDetails"]
    best = shown_token(model, exploration.lens.ids[1, CHOSEN, 0])
    assert details.startswith(f"After 0 attention: {best} ")
    assert f"has rank {exploration.lens.ranks[1, CHOSEN]};" in details
    assert f"{exploration.lens.kl[1, CHOSEN] / np.log(2):.2f} bits" in details


def test_the_arrow_keys_go_from_token_to_token(seen, exploration):
    read = seen["read"]
    assert read["left"]["position"] == CHOSEN - 2
    assert read["left"]["focus"] == str(CHOSEN - 1)
    assert read["end"]["position"] == len(exploration.token_ids) - 1
    assert read["home"]["position"] == 0


def test_a_keyboard_keeps_its_place_where_panels_are_made_again(seen):
    assert seen["read"]["select"]["head"][0] == "1"
    assert seen["read"]["select"]["label"] == "Layer"
    assert seen["read"]["home"]["label"] is None  # the button that was clicked has none
    assert seen["read"]["home"]["value"] == "bits"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_phone_and_has_a_dark_side(page, scheme, width):
    shown = use(page, {"view": {"width": width, "height": 800, "scheme": scheme}}, {"read": "it"})
    shown = shown["read"]["it"]
    scroll, client = shown["width"]
    assert scroll <= client
    light = sum(map(float, re.findall(r"[\d.]+", shown["background"])[:3]))
    assert (light < 200) == (scheme == "dark")
    assert min(shown["colours"]) > 2


def test_models_are_compared_by_a_slider(exploration, tmp_path):
    others = [
        explore(text_model(seed=seed, context_length=64), TEXT, name=f"step {seed}")
        for seed in (1, 2)
    ]
    path = tmp_path / "page.html"
    path.write_text(page_of([exploration, *others]), encoding="utf-8")
    read = use(
        path.as_uri(),
        {"click": f'#text [data-index="{CHOSEN + 1}"]'},
        {"fill": ["#model", "2"]},
        {"click": '#text [data-value="change"]'},
        {"read": "third"},
    )["read"]["third"]
    assert read["model"] == "step 2"
    assert read["candidates"][0]["id"] == others[1].candidate_ids[CHOSEN, 0]
    bits = [f"{each.bits[CHOSEN + 1]:.2f}" for each in (exploration, *others)]
    assert [row[2] for row in read["models"]] == bits
    for index, each in enumerate(read["tokens"][1:-1], start=1):
        change = others[1].log_probs[index] - exploration.log_probs[index]
        kind = "same" if abs(change) < 0.1 else "better" if change > 0 else "worse"
        assert each["kind"].startswith(f"token {kind}"), index
    assert read["missing"] is not None  # the others have no attributions


def test_hostile_texts_and_one_token_and_no_panels_are_shown(model, tmp_path):
    for index, text in enumerate(("</script><b>\x00\x1b\u202e é𝄞", "a", "\n\n")):
        path = explore(model, text).to_html(tmp_path / f"{index}.html")
        seen = use(path.as_uri(), {"read": "it"})
        assert seen["errors"] == []
        shown = seen["read"]["it"]
        assert shown["ablation"] == []
        assert len(shown["tokens"]) == len(model.tokenizer.encode(text)) + 2
        assert "\u202e" not in "".join(each["text"] for each in shown["tokens"])


def test_one_types_and_goes_on_with_a_click(model):
    server = ExplorerServer({"mine": model}, "the cat")
    ids = explore(model, "the cat").token_ids
    with serving(server) as url:
        seen = use(
            url,
            {"wait": "#ablation [data-head]"},
            {"read": "first"},
            {"click": "#candidates li:nth-child(2) button"},
            {"wait": f'body[data-position="{len(ids)}"][aria-busy=false]'},
            {"read": "clicked"},
            {"fill": ["#attribution input", " on"]},
            {"click": "#attribution form button"},
            {"wait": '#attribution [aria-pressed=true][data-value=true]'},
            {"read": "foil"},
            {"fill": ["#attribution input", "catdog"]},
            {"click": "#attribution form button"},
            {"wait": ".status.error"},
            {"read": "wrong"},
            {"click": '#text [data-index="1"]'},
            {"wait": "#attribution .bars"},  # gone at the click, until they are computed
            {"wait": "body[aria-busy=false]"},
            {"read": "position"},
        )  # fmt: skip
    # Chromium writes an answer that is an error to its console.
    assert [each for each in seen["errors"] if not re.search(r"status of 40[09]", each)] == []
    assert all(f" {url}" in each or " data:" in each for each in seen["requests"])
    read = seen["read"]
    second = int(explore(model, "the cat").candidate_ids[-1, 1])
    assert read["first"]["prompt"] == "the cat"
    assert read["clicked"]["prompt"] == "the cat" + model.tokenizer.decode([second])
    whole = explore(model, [*ids.tolist(), second])
    assert read["clicked"]["candidates"][0]["id"] == whole.candidate_ids[-1, 0]
    target = int(targets_of(whole)[-1])
    foil = model.tokenizer.encode(" on")[0]
    if target != foil:
        assert read["foil"]["why"][1][0].endswith("and not ␣on")
    assert "'catdog' is" in read["wrong"]["status"]
    expected = with_panels(model, whole, positions=[0]).panels
    assert_bars(read["position"]["attribution"], expected.contrasts[0, :1])


@pytest.mark.parametrize("tokens", [256, 512])
def test_a_page_of_the_124m_shape_is_small_and_opens_within_two_seconds(tokens, tmp_path):
    """With its 12 layers of 12 heads, whose weights are random: a page's size is of the shape."""
    exploration = large_exploration(tokens)
    path = exploration.to_html(tmp_path / "page.html")
    assert path.stat().st_size < {256: 8e6, 512: 30e6}[tokens]
    seen = [use(path.as_uri(), {"read": "it"}) for _ in range(3)]
    assert seen[0]["errors"] == []
    assert min(each["milliseconds"] for each in seen) < 2000


def large_exploration(tokens):
    """An exploration as large as one of the 124M shape, with its 50257 tokens."""
    random = np.random.default_rng(0)
    model = text_model(context_length=tokens)
    exploration = explore(model, random.integers(0, 280, tokens).tolist())
    attention = np.tril(random.random((12, 12, tokens, tokens), "float32"))
    attention = (attention / attention.sum(axis=-1, keepdims=True)).astype("float16")
    vocabulary = {token: b" token%d" % token for token in range(50257)}
    points = ["embeddings", *(f"{layer} {part}" for layer in range(12)
                              for part in ("attention", "feed-forward"))]  # fmt: skip
    ids = random.integers(0, 50257, (25, tokens, 10)).astype("int32")
    lens = dataclasses.replace(
        exploration.lens,
        points=points,
        ids=ids,
        probs=np.full(ids.shape, 0.1, "float32"),
        ranks=random.integers(1, 50258, (25, tokens)).astype("int32"),
        kl=np.ones((25, tokens), "float32"),
    )
    return dataclasses.replace(
        exploration,
        attention=attention,
        layers=tuple(range(12)),
        lens=lens,
        vocabulary={token: vocabulary[token] for token in np.unique(ids).tolist()},
        candidate_ids=ids[-1],
    )
