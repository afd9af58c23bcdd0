"""The page that shows explorations: one file, which asks nobody for anything.

`packing.py` makes the data small. The `.js` files are modules, which a browser can load one by
one (`export/on_device/web` does); here they become one script. `explorer.js` builds the panels,
one file each.
"""

import base64
import hashlib
import html
import importlib.resources
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpt2_keras.understanding.page.packing import pack

if TYPE_CHECKING:
    from gpt2_keras.understanding.exploration import Exploration

# Each after those that it imports.
MODULES = (
    "dom.js",
    "data.js",
    "text.js",
    "candidates.js",
    "attribution.js",
    "lens.js",
    "attention.js",
    "ablation.js",
    "compare.js",
    "explorer.js",
    "live.js",
    "main.js",
)
_FRAME_HEIGHT = 900  # CSS pixels, of a page in a notebook


def page_of(explorations: Sequence["Exploration"], *, live: bool = False, text: str = "") -> str:
    """Returns a page.

    Args:
        explorations: What it shows: one, or the same text by several models.
        live: Whether the page asks its server for other texts; see server.py.
        text: What stands in the field of a live page.

    Raises:
        ValueError: If the explorations are of different tokens, or too large for a page.
    """
    data = {"text": text, **pack(explorations)}
    script, style = script_of(MODULES), read("style.css")
    policy = [
        "default-src 'none'",
        f"script-src '{_digest(script)}'",
        f"style-src '{_digest(style)}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if live:
        policy.append("connect-src 'self'")
    parts = {
        "POLICY": "; ".join(policy),
        "STYLE": style,
        # Inside a script element only `</script` and `<!--` mean anything: no `<`, neither.
        "DATA": json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c"),
        "SCRIPT": script,
        "LIVE": "live" if live else "still",
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], read("page.html"))


def frame_of(explorations: Sequence["Exploration"]) -> str:
    """Returns a frame with the page in it, for a notebook."""
    page = html.escape(page_of(explorations))
    return (
        f'<iframe srcdoc="{page}" sandbox="allow-scripts" width="100%" height="{_FRAME_HEIGHT}" '
        'style="border: 0" title="What the model makes of the text"></iframe>'
    )


def read(name: str) -> str:
    """Returns the contents of a file of the page."""
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def script_of(names: Sequence[str]) -> str:
    """Returns modules as one script: each in a function, which returns what it exports."""
    parts = []
    for name in names:
        source = re.sub(r"^import [^;]*;\n", "", read(name), flags=re.MULTILINE)
        exports = re.findall(r"^export (?:function|class|const) (\w+)", source, flags=re.MULTILINE)
        body = re.sub(r"^export ", "", source, flags=re.MULTILINE)
        listed = f"{{ {', '.join(exports)} }}"
        parts.append(f"const {listed} = (() => {{\n{body}return {listed};\n}})();")
    return "\n".join(parts)


def _digest(text: str) -> str:
    """Returns what a Content-Security-Policy calls an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
