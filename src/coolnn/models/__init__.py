"""The zoo: well-known convolutional networks by name, with the parameter names of their published weights."""

from . import (
    alexnet,
    blocks,
    convnext,
    densenet,
    efficientnet,
    googlenet,
    inception,
    lenet,
    listing,
    mnasnet,
    mobilenet,
    regnet,
    resnet,
    shufflenet,
    squeezenet,
    vgg,
)
from .alexnet import AlexNet
from .convnext import ConvNeXt
from .densenet import DenseNet
from .efficientnet import EfficientNet, EfficientNetLite
from .googlenet import GoogLeNet
from .inception import InceptionV3
from .lenet import LeNet5, LeNet5Of1998
from .listing import table
from .mnasnet import MNASNet
from .mobilenet import MobileNetV1, MobileNetV2, MobileNetV3
from .published import (
    PACKAGE_MODEL,
    PUBLISHED,
    Published,
    available_weights,
    find_weights,
    get_weights,
    published_weights,
    weights_folder,
)
from .registry import (
    FeatureInfo,
    Model,
    ModelConfig,
    WithAuxiliary,
    create,
    features,
    for_size,
    get_config,
    list_models,
    register,
    unregister,
)
from .regnet import RegNet
from .resnet import CifarResNet, ResNet
from .shufflenet import ShuffleNetV2
from .squeezenet import SqueezeNet
from .transfer import freeze, unfreeze
from .vgg import VGG, SmallVGG

__all__ = [
    "PACKAGE_MODEL",
    "PUBLISHED",
    "VGG",
    "AlexNet",
    "CifarResNet",
    "ConvNeXt",
    "DenseNet",
    "EfficientNet",
    "EfficientNetLite",
    "FeatureInfo",
    "GoogLeNet",
    "InceptionV3",
    "LeNet5",
    "LeNet5Of1998",
    "MNASNet",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "Model",
    "ModelConfig",
    "Published",
    "RegNet",
    "ResNet",
    "ShuffleNetV2",
    "SmallVGG",
    "SqueezeNet",
    "WithAuxiliary",
    "alexnet",
    "available_weights",
    "blocks",
    "convnext",
    "create",
    "densenet",
    "efficientnet",
    "features",
    "find_weights",
    "for_size",
    "freeze",
    "get_config",
    "get_weights",
    "googlenet",
    "inception",
    "lenet",
    "list_models",
    "listing",
    "mnasnet",
    "mobilenet",
    "published_weights",
    "register",
    "regnet",
    "resnet",
    "shufflenet",
    "squeezenet",
    "table",
    "unfreeze",
    "unregister",
    "vgg",
    "weights_folder",
]
