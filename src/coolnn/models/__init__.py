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
from .mnasnet import MNASNet
from .mobilenet import MobileNetV1, MobileNetV2, MobileNetV3
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
    "RegNet",
    "ResNet",
    "ShuffleNetV2",
    "SmallVGG",
    "SqueezeNet",
    "WithAuxiliary",
    "alexnet",
    "blocks",
    "convnext",
    "create",
    "densenet",
    "efficientnet",
    "features",
    "for_size",
    "freeze",
    "get_config",
    "googlenet",
    "inception",
    "lenet",
    "list_models",
    "mnasnet",
    "mobilenet",
    "register",
    "regnet",
    "resnet",
    "shufflenet",
    "squeezenet",
    "unfreeze",
    "unregister",
    "vgg",
]
