"""The ONNX backend interface, so that the standard's own suite (`onnx.backend.test`) runs against this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import autograd
from ...tensor import Tensor, from_numpy
from .loader import build
from .module import OnnxModule
from .package import onnx_package

try:
    from onnx.backend.base import Backend, BackendRep
except ImportError:
    onnx_package()  # raises, with what to install
    raise


class CoolBackendRep(BackendRep):  # type: ignore[misc]  # the package is looked at as untyped
    """A model ready to run: arrays in, arrays out, in the types that the model declares."""

    def __init__(self, net: OnnxModule, model: Any) -> None:
        self.net = net
        helper = onnx_package().helper
        self._dtypes = {
            value.name: helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in model.graph.output
            if value.type.tensor_type.elem_type
        }

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs for a list of inputs in order, or a table of them by name."""
        if isinstance(inputs, dict):
            inputs = [inputs[name] for name in self.net.input_names]
        given = [_tensor(x, dtype) for x, (_, dtype) in zip(inputs, self.net.input_specs, strict=True)]
        with autograd.no_grad(), np.errstate(all="ignore"):
            result = self.net(*given)
            outputs = result if isinstance(result, tuple) else (result,)
            named = zip(self.net.output_names, outputs, strict=True)
            return tuple(y.numpy().astype(self._dtypes.get(name, y.dtype)) for name, y in named)


def _tensor(x: Any, dtype: Any) -> Tensor:
    array = np.asarray(x)
    return from_numpy(array if array.dtype == dtype else array.astype(dtype))


class CoolBackend(Backend):  # type: ignore[misc]
    """coolnn as an ONNX backend: `CoolBackend.prepare(model).run(inputs)`."""

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether a model can be prepared."""
        try:
            cls.prepare(model, device)
        except (ValueError, TypeError, NotImplementedError):
            return False
        return True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> CoolBackendRep:
        """A model (ModelProto) ready to run; raises OnnxError where it cannot be."""
        return CoolBackendRep(build(model), model)

    @classmethod
    def run_node(
        cls, node: Any, inputs: Any, device: str = "CPU", outputs_info: Sequence[Any] | None = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """A single node on arrays."""
        helper = onnx_package().helper
        arrays = [np.asarray(x) for x in inputs]
        kinds = [helper.np_dtype_to_tensor_dtype(x.dtype) for x in arrays]
        names = [name for name in node.input if name]
        given = [
            helper.make_tensor_value_info(n, kind, x.shape) for n, kind, x in zip(names, kinds, arrays, strict=True)
        ]
        made = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "node", given, made)
        return cls.prepare(helper.make_model(graph), device).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether models run there: on the CPU only."""
        return device == "CPU"


prepare = CoolBackend.prepare
run_model = CoolBackend.run_model
run_node = CoolBackend.run_node
is_compatible = CoolBackend.is_compatible
supports_device = CoolBackend.supports_device
