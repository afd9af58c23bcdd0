"""The loss curve as a file and as a line."""

import pytest

from gpt2_keras.runs import draw_loss_curve, loss_curve_text


def test_the_picture_is_a_png_that_replaces_the_last_one(tmp_path):
    path = tmp_path / "loss.png"
    for values in ([4.0], [4.0, 3.0]):
        draw_loss_curve(path, range(len(values)), values, values)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["loss.png"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2.0], "2.00 ▁ 2.00"), ([1, 8], "1.00 ▁█ 8.00"), ([8, 1, 1, 8], "8.00 █▁▁█ 8.00")],
)
def test_the_line_has_a_bar_a_value(values, expected):
    assert loss_curve_text(values) == expected


def test_many_values_are_averaged_into_the_width():
    assert loss_curve_text(range(1000), width=8) == "0.00 ▁▂▃▄▅▆▇█ 999.00"


def test_what_is_no_curve_is_refused():
    with pytest.raises(ValueError, match=r"at least one value.*values=\[\]"):
        loss_curve_text([])
    with pytest.raises(ValueError, match=r"finite ones.*values=\[1\.0, nan\]"):
        loss_curve_text([1.0, float("nan")])
    with pytest.raises(ValueError, match=r"`width` must be at least 1.*width=0"):
        loss_curve_text([1.0], width=0)
