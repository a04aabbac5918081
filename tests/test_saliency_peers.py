"""Saliency maps against Captum and pytorch-grad-cam, on the same weights and pictures, where they are installed."""

import importlib.util
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from saliency_nets import given, small

import coolnn as cool
from coolnn.explain import Explainer
from coolnn.formats import open_pretrained

torch = pytest.importorskip("torch")
pytest.importorskip("captum")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

REAL = Path(os.environ.get("COOLNN_DATA", "nowhere"))
SQUEEZENET = REAL / "weights" / "squeezenet1_1-imagenet" / "squeezenet1_1.safetensors"
PHOTOS = sorted((REAL / "photos" / "imagenet-samples").glob("*.*"))[:1]
#: Relative to the largest value.
CLOSE = 1e-3


class Twin(torch.nn.Module):
    """A network of ours in PyTorch, its rectifiers as modules, for libraries that look for these."""

    def __init__(self, net, shape) -> None:
        super().__init__()
        from coolnn.bench import peer_torch, portable

        graph = portable.traced(net, (1, *shape))
        self.body = peer_torch.module_of(graph)
        self.names = []  # of the modules that the steps of our graph became, None for functions
        kinds = {torch.nn.functional.relu: torch.nn.ReLU, torch.nn.functional.relu6: torch.nn.ReLU6}
        for node in list(self.body.graph.nodes):
            if node.op != "call_function":
                continue
            if node.target is torch.reshape:  # of one picture in our graph
                node.kwargs = {"shape": (-1, *node.kwargs["shape"][1:])}
            name = f"step{len(self.names)}"
            self.names.append(name if node.target in kinds else None)
            if node.target in kinds:
                self.body.add_module(name, kinds[node.target]())
                node.op, node.target, node.kwargs = "call_module", name, {}
        self.body.recompile()

    def forward(self, x):
        return self.body(x)[0]

    def module(self, layer):
        """The module that gives what a layer of ours gives."""
        name = self.names[layer.call]
        assert name is not None
        return getattr(self.body, name)


def sized(name, classes):
    cool.manual_seed(3)
    return cool.models.create(name, num_classes=classes).eval()


def photographs():
    model = open_pretrained("squeezenet1_1", SQUEEZENET, preprocessing="caffe", size=227)
    return model.net, (3, 227, 227), [model.preprocessing(photo) for photo in PHOTOS]


needs_photographs = pytest.mark.skipif(
    not (SQUEEZENET.exists() and PHOTOS), reason="COOLNN_DATA has no weights or photos"
)
CASES = [
    pytest.param(lambda: (small(), (3, 16, 16), [given(1, 3, 16, 16, seed=s) for s in (0, 1)]), id="small"),
    pytest.param(lambda: (sized("vgg11_bn", 7), (3, 32, 32), [given(1, 3, 32, 32)]), id="vgg11_bn"),
    pytest.param(lambda: (sized("squeezenet1_1", 7), (3, 49, 49), [given(1, 3, 49, 49)]), id="squeezenet1_1"),
    pytest.param(photographs, id="photographs", marks=needs_photographs),
]


def captum_maps(method, twin, layer, x, target):
    from captum import attr

    if method == "gradient":
        return attr.Saliency(twin).attribute(x, target, abs=False)
    if method == "gradient_input":
        return attr.InputXGradient(twin).attribute(x, target)
    if method == "integrated_gradients":
        return attr.IntegratedGradients(twin).attribute(x, torch.zeros_like(x), target, n_steps=20)
    if method == "deconvnet":
        return attr.Deconvolution(twin).attribute(x, target)
    if method == "guided_backprop":
        return attr.GuidedBackprop(twin).attribute(x, target)
    return attr.LayerGradCam(twin, twin.module(layer)).attribute(x, target, relu_attributions=True)


SETTINGS = {"integrated_gradients": {"steps": 20}}
CAPTUM = ["gradient", "gradient_input", "integrated_gradients", "deconvnet", "guided_backprop", "grad_cam"]


@pytest.mark.parametrize("method", CAPTUM)
@pytest.mark.parametrize("case", CASES)
def test_captum_gives_the_same_map(case, method):
    """Captum computes in float64: its integrated gradients of a photograph in float32 are 1.3e-3 from those."""
    net, shape, pictures = case()
    explain, twin = Explainer(net), Twin(net, shape).eval().double()
    layer = cool.explain.Layers(net, shape).last_map
    for x in pictures:
        ours = explain(x, method, **SETTINGS.get(method, {}))
        theirs = captum_maps(method, twin, layer, torch.tensor(x).double().requires_grad_(), ours.target.index[0])
        theirs = theirs.detach().numpy()[0]
        theirs = theirs[0] if ours.raw.ndim == 2 else theirs
        assert np.abs(theirs).max() > 0
        assert np.abs(ours.raw - theirs).max() <= CLOSE * np.abs(theirs).max()


@pytest.mark.parametrize(("window", "stride"), [((5, 5), (2, 3)), ((4, 6), (4, 6))])
@pytest.mark.parametrize("case", CASES[:2])
def test_captum_gives_the_same_occlusion(case, window, stride):
    from captum import attr

    net, shape, pictures = case()
    twin = Twin(net, shape).eval()
    for x in pictures:
        ours = Explainer(net)(x, "occlusion", 1, window=window, stride=stride)
        with torch.no_grad():
            theirs = attr.Occlusion(twin).attribute(
                torch.tensor(x), (shape[0], *window), (shape[0], *stride), baselines=0, target=1
            )
        theirs = theirs.numpy()[0, 0]
        assert np.abs(ours.map - theirs).max() <= CLOSE * np.abs(theirs).max()


@needs_photographs
def test_captum_gives_the_same_occlusion_of_photographs():
    from captum import attr

    net, shape, pictures = photographs()
    ours = Explainer(net)(pictures[0], "occlusion", window=60, stride=45)
    with torch.no_grad():
        theirs = attr.Occlusion(Twin(net, shape).eval()).attribute(
            torch.tensor(pictures[0]), (3, 60, 60), (3, 45, 45), target=ours.target.index[0]
        )
    assert np.abs(ours.map - theirs.numpy()[0, 0]).max() <= CLOSE * np.abs(theirs.numpy()).max()


@pytest.fixture
def grad_cam_library(monkeypatch):
    """pytorch-grad-cam; it imports torchvision for helpers that are not used here, and which may not be installed."""
    if importlib.util.find_spec("torchvision") is None:
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
            stand_in = types.ModuleType(name)
            stand_in.__dict__.update(dict.fromkeys(("Compose", "Normalize", "ToTensor", "resize")))
            monkeypatch.setitem(sys.modules, name, stand_in)
    return pytest.importorskip("pytorch_grad_cam")


@pytest.mark.parametrize(
    ("method", "name"), [("grad_cam", "GradCAM"), ("grad_cam_pp", "GradCAMPlusPlus"), ("layer_cam", "LayerCAM")]
)
@pytest.mark.parametrize("case", CASES)
def test_pytorch_grad_cam_gives_the_same_map(case, method, name, grad_cam_library):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net, shape, pictures = case()
    explain, twin = Explainer(net), Twin(net, shape).eval()
    layers = cool.explain.Layers(net, shape)
    fine = next(at for at in layers.maps() if at.kind == "ReLU")
    for layer in (layers.last_map, fine):
        for x in pictures:
            ours = explain(x, method, layer=layer)
            with getattr(grad_cam_library, name)(twin, [twin.module(layer)]) as theirs:
                expected = theirs(torch.tensor(x), [ClassifierOutputTarget(ours.target.index[0])])[0]
            found = (ours.map - ours.map.min()) / np.ptp(ours.map)
            assert np.abs(found - expected).max() <= CLOSE  # of 1, the largest value
