"""What is loaded when: `import coolnn` and a first prediction do not wait for what they do not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

NETWORK = ("http.client", "ssl", "urllib.request")
OFTEN_UNUSED = ("torch", "onnx", "matplotlib", "argparse", "safetensors", "coolnn.cli", "coolnn.tasks", "coolnn.train")


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (
            "import coolnn",
            (*NETWORK, *OFTEN_UNUSED, "PIL", "coolnn.nn", "coolnn.data", "coolnn.models", "coolnn.graph"),
        ),
        (
            "import coolnn as cool; cool.compile(cool.models.create('lenet5'))(cool.zeros(1, 1, 28, 28))",
            (*NETWORK, *OFTEN_UNUSED, "coolnn.data.loader", "coolnn.data.transforms"),
        ),
    ],
    ids=["import", "first prediction"],
)
def test_starting_loads_no_more_than_it_needs(code, absent):
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    words = [sys.executable, "-c", program]
    loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert not set(absent) & set(loaded)


def test_names_of_the_data_package_are_there_and_no_others():
    from coolnn import data

    for name in data.__all__:
        assert getattr(data, name) is not None
    listed = {name for names in data._HOMES.values() for name in names.split()}
    assert listed == set(data.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Imagenet'"):
        data.Imagenet  # noqa: B018
