"""Errors that say what to do, and doing it."""

import ast
import re

import pytest

_VALUE = re.compile(r"(\w+)=('[^']*'|\"[^\"]*\"|\[[^]]*\]|[\w.-]+?)(?=[\s,;)`]|\.(?:\s|$)|$)")


def told(call, advice):
    """Returns what an error says, which contains the advice word for word."""
    with pytest.raises((ValueError, TypeError, OSError, RuntimeError)) as error:
        call()
    message = str(error.value)
    assert advice in message
    return message[message.index(advice) :]


def values_in(advice):
    """Returns the arguments that an advice names, such as `num_heads=4`."""
    return {name: ast.literal_eval(value) for name, value in _VALUE.findall(advice)}


def follow(call, advice, **wrong):
    """Makes a mistake, reads the advice, and returns the result with the values it names."""
    values = values_in(told(lambda: call(**wrong), advice))
    assert values
    return call(**wrong | values)
