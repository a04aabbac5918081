"""Packages that are functions too: `coolnn.explain(y, index)` beside `coolnn.explain.trace`."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A package that, when called, calls the function that `_called` names, as "module:function"."""

    _called: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module, _, function = self._called.partition(":")
        return getattr(importlib.import_module(module), function)(*args, **kwargs)


def make_callable(name: str, function: str) -> None:
    """Lets the module of this name be called; `function`, as "module:function", is found when it first is."""
    module = sys.modules[name]
    module.__class__ = CallableModule
    module.__dict__["_called"] = function
