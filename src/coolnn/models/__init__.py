"""The zoo: well-known convolutional networks by name, with torchvision's parameter names."""

from . import alexnet, lenet, resnet, vgg
from .alexnet import AlexNet
from .lenet import LeNet5, LeNet5Of1998
from .registry import (
    FeatureInfo,
    Model,
    ModelConfig,
    create,
    features,
    for_size,
    get_config,
    list_models,
    register,
    unregister,
)
from .resnet import CifarResNet, ResNet
from .vgg import VGG, SmallVGG

__all__ = [
    "VGG",
    "AlexNet",
    "CifarResNet",
    "FeatureInfo",
    "LeNet5",
    "LeNet5Of1998",
    "Model",
    "ModelConfig",
    "ResNet",
    "SmallVGG",
    "alexnet",
    "create",
    "features",
    "for_size",
    "get_config",
    "lenet",
    "list_models",
    "register",
    "resnet",
    "unregister",
    "vgg",
]
