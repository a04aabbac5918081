"""A network as an ONNX file for as long as a peer reads it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import nn
from ..formats.onnx import export
from ..spec import Shape


@contextlib.contextmanager
def exported(net: nn.Module, input_shape: Shape) -> Iterator[Path]:
    """The file of a network for inputs of one shape; raises NotImplementedError for one that has no ONNX form."""
    with tempfile.TemporaryDirectory(prefix="coolnn-bench-") as folder:
        path = Path(folder) / "network.onnx"
        try:
            export(net, path, input_shape, dynamic=False, fold_batch_norm=True, check_parity=False)
        except (ValueError, ImportError) as error:
            raise NotImplementedError(f"an ONNX file of this network ({error})") from error
        yield path
