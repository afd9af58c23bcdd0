"""Our classes registered with Keras, so that `keras.models.load_model` finds them by name.

`import gpt2_keras` alone must not import Keras, and with it TensorFlow. So what is not yet
imported is registered at the moment that somebody imports Keras, by an import hook.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

# The modules that define a class with `register_keras_serializable`, or import one that does.
MODULES = ("gpt2_keras.lm", "gpt2_keras.finetuning.classifier")
TENSORFLOW_MODULES = ("gpt2_keras.tokenizer.graph.layers",)


def register() -> None:
    """Imports every module that registers a class."""
    for name in (*MODULES, *(TENSORFLOW_MODULES if _has_tensorflow() else ())):
        importlib.import_module(name)


def _has_tensorflow() -> bool:
    """Returns whether TensorFlow can be imported: on JAX it may be absent, or broken."""
    try:
        importlib.import_module("tensorflow")
    except ImportError:
        return False
    return True


def register_with_keras() -> None:
    """Registers now if Keras is imported, or else right after it is."""
    if sys.modules.get("keras") is not None:  # None there blocks its import
        register()
    else:
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Registers once Keras is imported and none of our modules is in the middle of its import.

    Such a module may be what imports Keras: our classes are in it, or need it.
    """

    def __init__(self) -> None:
        self._finding: set[str] = set()
        self._depth = 0  # number of our modules in the middle of their import

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 -- the interface
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """Finds Keras and our modules as Python would; what is done after them is added."""
        ours = fullname.startswith("gpt2_keras.")
        if not (ours or fullname == "keras") or fullname in self._finding:
            return None
        self._finding.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._finding.remove(fullname)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            self._depth += ours
            try:
                load(module)
            finally:
                self._depth -= ours
            if not self._depth and sys.modules.get("keras") and self in sys.meta_path:
                sys.meta_path.remove(self)
                register()

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec
