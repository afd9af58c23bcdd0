"""The loss curve as a PNG file and as a line of text."""

import pytest

from gpt2_keras.runs import loss_curve_text, plot_loss_curve


def test_the_plot_is_a_png_that_replaces_the_last_one(tmp_path):
    path = tmp_path / "loss.png"
    for values in ([4.0], [4.0, 3.0]):
        plot_loss_curve(path, range(len(values)), values, values)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["loss.png"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2.0], "2.00 ▁ 2.00"), ([1, 8], "1.00 ▁█ 8.00"), ([8, 1, 1, 8], "8.00 █▁▁█ 8.00")],
)
def test_the_line_has_a_bar_per_value(values, expected):
    assert loss_curve_text(values) == expected


def test_many_values_are_averaged_into_the_width():
    assert loss_curve_text(range(1000), width=8) == "0.00 ▁▂▃▄▅▆▇█ 999.00"


def test_an_impossible_curve_is_an_error():
    with pytest.raises(ValueError, match=r"values is empty\. Use at least one loss"):
        loss_curve_text([])
    with pytest.raises(ValueError, match=r"values\[1\]=nan is not finite\. Use a finite number"):
        loss_curve_text([1.0, float("nan")])
    with pytest.raises(TypeError, match=r"values\[0\]='a' is a str\. Use a finite number"):
        loss_curve_text(["a"])
    with pytest.raises(ValueError, match=r"width=0 is less than 1\. Use an integer of at least 1"):
        loss_curve_text([1.0], width=0)
    with pytest.raises(TypeError, match=r"width=2\.5 is a float\. Use an integer"):
        loss_curve_text([1.0], width=2.5)
