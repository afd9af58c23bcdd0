"""Every branch and every message of the argument checks."""

import pathlib

import numpy as np
import pytest

from gpt2_keras.validation import (
    check_choice,
    check_flag,
    check_instance,
    check_integer,
    check_list,
    check_number,
    check_path,
    check_probability,
    check_text,
    check_texts,
)


def fails(error, message, check, *args, **kwargs):
    """Asserts the type and the whole message of the error of a check."""
    with pytest.raises(error) as raised:
        check("x", *args, **kwargs)
    assert type(raised.value) is error
    assert str(raised.value) == message


@pytest.mark.parametrize("value", [0, 7, np.int64(7), np.uint8(7), 10**400])
def test_integers_of_python_and_numpy_are_returned_as_pythons(value):
    result = check_integer("x", value, minimum=0)
    assert result == value
    assert type(result) is int


def test_the_limits_of_an_integer_are_inclusive():
    assert check_integer("x", 1, minimum=1, maximum=3) == 1
    assert check_integer("x", 3, minimum=1, maximum=3) == 3
    assert check_integer("x", -5) == -5


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, "x=True is a bool"),
        (np.True_, "x=np.True_ is a bool"),
        (1.0, "x=1.0 is a float"),
        (float("nan"), "x=nan is a float"),
        ("1", "x='1' is a str"),
        ([1], "x=[1] is a list"),
        (None, "x is None"),
    ],
)
def test_what_is_no_integer_is_a_type_error(value, found):
    fails(TypeError, f"{found}. Use an integer.", check_integer, value)


@pytest.mark.parametrize(
    ("limits", "value", "message"),
    [
        ({"minimum": 1}, 0, "x=0 is less than 1. Use an integer of at least 1."),
        ({"maximum": 3}, 4, "x=4 is greater than 3. Use an integer up to 3."),
        (
            {"minimum": 1, "maximum": 3},
            np.int32(-1),
            "x=-1 is less than 1. Use an integer from 1 to 3.",
        ),
    ],
)
def test_an_integer_out_of_its_range_is_a_value_error(limits, value, message):
    fails(ValueError, message, check_integer, value, **limits)


def test_advice_ends_a_message():
    fails(
        ValueError,
        "x=0 is less than 1. Use an integer of at least 1. Leave it out for none.",
        check_integer,
        0,
        minimum=1,
        advice="Leave it out for none.",
    )
    fails(TypeError, "x is None. Use a path. Name it.", check_path, None, advice="Name it.")


@pytest.mark.parametrize(
    ("value", "result"), [(2, 2), (np.int64(2), 2), (0.5, 0.5), (np.float32(0.5), 0.5)]
)
def test_numbers_of_python_and_numpy_are_returned_as_pythons(value, result):
    found = check_number("x", value)
    assert found == result
    assert type(found) is type(result)


def test_an_integer_too_large_for_a_float_is_a_number_still():
    assert check_number("x", 10**400, minimum=0) == 10**400


@pytest.mark.parametrize("value", [True, "0.5", 1j, [0.5]])
def test_what_is_no_number_is_a_type_error(value):
    name = type(value).__name__
    fails(TypeError, f"x={value!r} is a {name}. Use a finite number.", check_number, value)


def test_none_is_no_number():
    fails(TypeError, "x is None. Use a number at least 0.", check_number, None, minimum=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_is_finite(value):
    fails(ValueError, f"x={value} is not finite. Use a finite number.", check_number, value)


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "found", "rule"),
    [
        ({"minimum": 0}, 0, -0.1, "at least 0", "at least 0"),
        ({"maximum": 1}, 1, 1.5, "at most 1", "at most 1"),
        ({"above": 0}, 1e-9, 0.0, "above 0", "above 0"),
        ({"below": 1}, 0.999, 1.0, "below 1", "below 1"),
        ({"minimum": 0, "below": 1}, 0, 1, "below 1", "at least 0 and below 1"),
        ({"above": 0, "maximum": 2.5}, 2.5, 3, "at most 2.5", "above 0 and at most 2.5"),
    ],
)
def test_a_number_out_of_its_range_is_a_value_error(limits, inside, outside, found, rule):
    assert check_number("x", inside, **limits) == inside
    message = f"x={outside} is not {found}. Use a number {rule}."
    fails(ValueError, message, check_number, outside, **limits)


def test_a_probability_is_from_0_to_1():
    assert [check_probability("x", value) for value in (0, 0.5, 1)] == [0, 0.5, 1]
    rule = "Use a number at least 0 and at most 1."
    fails(ValueError, f"x=1.1 is not at most 1. {rule}", check_probability, 1.1)
    fails(ValueError, f"x=-1 is not at least 0. {rule}", check_probability, -1)
    fails(TypeError, f"x=True is a bool. {rule}", check_probability, True)


def test_a_flag_is_a_bool():
    assert check_flag("x", True) is True
    assert check_flag("x", False) is False
    fails(TypeError, "x=1 is an int. Use True or False.", check_flag, 1)
    fails(TypeError, "x is None. Use True or False.", check_flag, None)


def test_a_text_is_a_str():
    assert check_text("x", "") == ""
    fails(TypeError, "x=3 is an int. Use a str.", check_text, 3)
    fails(TypeError, "x=b'a' is a bytes. Use a str. Decode bytes first.", check_text, b"a")


def test_texts_are_one_str_or_several():
    assert check_texts("x", "ab") == ["ab"]
    assert check_texts("x", ("a", "b")) == ["a", "b"]
    assert check_texts("x", (text for text in "ab")) == ["a", "b"]
    fails(TypeError, "x=3 is an int. Use a str or a list of them.", check_texts, 3)
    fails(TypeError, "x={'a': 1} is a dict. Use a str or a list of them.", check_texts, {"a": 1})
    fails(TypeError, "x={'a'} is a set. Use a str or a list of them.", check_texts, {"a"})
    fails(
        TypeError,
        "x=b'a' is a bytes. Use a str or a list of them. Decode bytes first.",
        check_texts,
        b"a",
    )
    fails(TypeError, "x[1] is None. Use a str.", check_texts, ["a", None])
    fails(ValueError, "x is empty. Use at least one str.", check_texts, [])


@pytest.mark.parametrize("value", [[1, 2], (1, 2), np.array([1, 2]), range(1, 3), iter([1, 2])])
def test_a_list_is_what_is_read_like_one(value):
    assert list(check_list("x", value, "a list of numbers")) == [1, 2]


@pytest.mark.parametrize("value", [3, None, "12", b"12", {1: 2}, {1, 2}, np.array(1), len])
def test_what_is_no_list_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"^x.* is (an?|None).*\. Use a list of numbers\.$"):
        check_list("x", value, "a list of numbers")


def test_a_path_is_a_str_or_path():
    path = pathlib.Path("a")
    assert check_path("x", path) is path
    assert check_path("x", "a") == "a"
    fails(TypeError, "x=b'a' is a bytes. Use a path.", check_path, b"a")


def test_a_choice_is_one_of_a_list():
    assert check_choice("x", "a", ["a", "b"]) == "a"
    fails(ValueError, "x='c' is unknown. Use one of 'a', 'b'.", check_choice, "c", ["a", "b"])
    fails(TypeError, "x=1 is an int. Use one of 'a'.", check_choice, 1, {"a": 1})


def test_an_instance_is_of_one_of_some_types():
    assert check_instance("x", 3, int, "an int") is None
    assert check_instance("x", 3, (str, int), "a str or an int") is None
    fails(TypeError, "x={} is a dict. Use an int.", check_instance, {}, int, "an int")


def test_a_long_value_is_shortened():
    message = f"x='{'a' * 76}... is a str. Use an integer."
    fails(TypeError, message, check_integer, "a" * 100)
