"""Reading JSON that others wrote."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text; all that is wrong with a text is one kind of error.

    Raises:
        json.JSONDecodeError: If it is not JSON, nested too deeply for Python's parser, or has an
            integer of more digits than Python converts. It is a ValueError.
        UnicodeDecodeError: If bytes are no text. It is a ValueError too.

    Example:
        >>> parse_json('{"n_layer": 12}')
        {'n_layer': 12}
        >>> parse_json("[" * 100_000)
        Traceback (most recent call last):
        ...
        json.decoder.JSONDecodeError: Nested too deeply: line 1 column 1 (char 0)
    """
    document = text if isinstance(text, str) else text.decode("utf-8-sig")
    try:
        return json.loads(document)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("Nested too deeply", document, 0) from None
    except ValueError as error:  # sys.set_int_max_str_digits
        raise json.JSONDecodeError(str(error), document, 0) from None
