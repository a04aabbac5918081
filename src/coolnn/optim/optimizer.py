"""Optimizers: rules that change parameters in the direction of their gradients, one fused kernel a parameter."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..autograd import apply_into
from ..nn.parameter import meta_allowed
from ..ops import update
from ..spec import float32
from ..tensor import Array, Tensor

Group = dict[str, Any]
Parameters = Iterable[Tensor] | Iterable[Mapping[str, Any]]
T = TypeVar("T")


class Optimizer:
    """Base of all optimizers: groups of parameters with settings, and a state for each parameter.

    `parameters`: tensors (`net.parameters()`), or dictionaries such as {"params": [...], "lr": 0.01} whose settings
    replace the defaults for those tensors. A subclass gives `_update`, the step of one parameter.
    Raises ValueError for an empty list, a tensor named twice or a setting out of range.
    """

    #: Names of the tensors that belong to a parameter; "step" is a number.
    state_tensors: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parameters: Parameters, **defaults: Any) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = []
        # By the id of the parameter, which the groups keep alive:
        self.state: dict[int, dict[str, Any]] = {}
        self._group_of: dict[int, Group] = {}
        self._hyper: dict[int, tuple[Array, Tensor]] = {}
        self.version = 0  # of the tensors in `state`: grows when they are exchanged for others
        given: list[Any] = list(parameters)
        if not given:
            raise ValueError("there are no parameters to optimize; pass net.parameters()")
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Adds parameters with settings of their own; what is not named has the optimizer's defaults."""
        unknown = set(group) - set(self.defaults) - {"params"}
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no setting {', '.join(sorted(unknown))}; it has {', '.join(self.defaults)}"
            )
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for position, parameter in enumerate(params):
            if not isinstance(parameter, Tensor):
                raise TypeError(f"an optimizer takes tensors; item {position} is {type(parameter).__name__}")
            if (parameter.is_meta and not meta_allowed()) or not parameter.is_leaf:
                what = "has no numbers (meta)" if parameter.is_meta else "is the result of an operation"
                raise ValueError(f"parameter {position} of shape {parameter.shape} {what}; only leaves can be learned")
            if id(parameter) in known:
                raise ValueError(f"parameter {position} of shape {parameter.shape} is listed twice")
            known.add(id(parameter))
        made = {"params": params, **self.defaults, **{k: v for k, v in group.items() if k != "params"}}
        self._check(made)
        self.param_groups.append(made)
        self._group_of.update((id(parameter), made) for parameter in params)

    def _check(self, group: Group) -> None:
        """Raises ValueError for settings out of range."""
        for name in ("lr", "momentum", "weight_decay", "eps"):
            if name in group and not group[name] >= 0:
                raise ValueError(f"{name} must be 0 or more, not {group[name]}")
        for beta in group.get("betas", ()):
            if not 0 <= beta < 1:
                raise ValueError(f"betas must lie in [0, 1), not {group['betas']}")

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self, grad_scale: float = 1.0) -> None:
        """Changes every parameter that has a gradient; gradients are multiplied by `grad_scale` on the way."""
        found = [(p, p.grad) for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.advance([parameter for parameter, _ in found], grad_scale)
        self.update(found)

    def advance(self, parameters: Sequence[Tensor], grad_scale: float = 1.0) -> None:
        """Counts a step for these parameters and sets the numbers that change from step to step (learning rate)."""
        for parameter in parameters:
            key = id(parameter)
            numbers = self._numbers(self.state.setdefault(key, {}), self._group_of[key], grad_scale)
            known = self._hyper.get(key)
            if known is None:
                array: Array = np.array(numbers, float32)
                self._hyper[key] = (array, Tensor.from_array(array))
            else:
                known[0][:] = numbers

    def update(self, found: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Changes parameters by their gradients, with the numbers that `advance` has set."""
        for parameter, grad in found:
            key = id(parameter)
            self._update(parameter, grad, self.state[key], self._group_of[key], self._hyper[key][1])

    def _numbers(self, state: dict[str, Any], group: Group, scale: float) -> tuple[float, ...]:
        """What changes from step to step, and so cannot be an attribute that a kernel is prepared for."""
        return group["lr"], scale

    def _update(self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: Group, hyper: Tensor) -> None:
        raise NotImplementedError

    def fresh(self) -> Optimizer:
        """The same rule for the same parameters, without any state yet; its settings are a copy."""
        made = copy.copy(self)
        made.param_groups = [dict(group) for group in self.param_groups]
        made._group_of = {id(parameter): group for group in made.param_groups for parameter in group["params"]}
        made.state, made._hyper = {}, {}
        return made

    # --- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next steps depend on, in PyTorch's form: {"state": {number: ...}, "param_groups": [...]}.

        The tensors share memory with the optimizer's. With the same parameters, loading it resumes to the same bits.
        """
        order = [p for group in self.param_groups for p in group["params"]]
        numbers = {id(p): i for i, p in enumerate(order)}
        return {
            "state": {numbers[id(p)]: dict(self.state[id(p)]) for p in order if id(p) in self.state},
            "param_groups": [{**g, "params": [numbers[id(p)] for p in g["params"]]} for g in self.param_groups],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a state, copying its tensors; raises ValueError if it is of other parameters."""
        groups = state["param_groups"]
        sizes, own_sizes = [len(g["params"]) for g in groups], [len(g["params"]) for g in self.param_groups]
        if sizes != own_sizes:
            raise ValueError(
                f"this state has groups of {sizes} parameters, the optimizer has {own_sizes}; "
                "build the optimizer in the same way before loading"
            )
        loaded: dict[int, dict[str, Any]] = {}
        for group, own in zip(groups, self.param_groups, strict=True):
            for number, parameter in zip(group["params"], own["params"], strict=True):
                if number in state["state"]:
                    loaded[id(parameter)] = self._loaded(state["state"][number], parameter, number)
        self.state = loaded
        self.version += 1
        for group, own in zip(groups, self.param_groups, strict=True):
            own.update({name: _plain(value) for name, value in group.items() if name != "params"})

    def _loaded(self, state: Mapping[str, Any], parameter: Tensor, number: int) -> dict[str, Any]:
        loaded: dict[str, Any] = {}
        for name, value in state.items():
            if name not in self.state_tensors:
                loaded[name] = value
                continue
            array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
            if array.shape != parameter.shape:
                raise ValueError(
                    f"{name} of parameter {number} has shape {array.shape}, the parameter {parameter.shape}; "
                    "this state is of another network"
                )
            loaded[name] = _zeros_like(parameter).copy_(array)
        return loaded

    def __repr__(self) -> str:
        lines = [
            f"  {len(g['params'])} tensors: " + ", ".join(f"{k}={v}" for k, v in g.items() if k != "params")
            for g in self.param_groups
        ]
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # JSON has lists only


def _zeros_like(tensor: Tensor) -> Tensor:
    if tensor.is_meta:  # of a network that is only planned
        return Tensor(None, tensor.spec)
    return Tensor.from_array(np.zeros(tensor.shape, tensor.dtype))


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as in PyTorch: b = momentum·b + (1 - dampening)·g; p -= lr·b.

    `nesterov`: looks ahead by one momentum step (Sutskever et al. 2013). Weight decay is added to the gradient.

    >>> import coolnn as cool
    >>> p = cool.nn.Parameter(cool.ones(1))
    >>> optimizer = cool.optim.SGD([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.tolist()
    [0.0]
    """

    state_tensors = ("momentum_buffer",)

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            parameters, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                "nesterov needs momentum and no dampening, not "
                f"momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def _update(self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: Group, hyper: Tensor) -> None:
        first, buffer = False, None
        if group["momentum"] != 0:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                # b = momentum 0 + g is what the first step asks for anyway, unless g is to be dampened.
                first, buffer = group["dampening"] != 0, _zeros_like(parameter)
                state["momentum_buffer"] = buffer
        apply_into(
            update.SGD_STEP,
            (parameter, grad, buffer, hyper),
            (parameter,) if buffer is None else (parameter, buffer),
            momentum=float(group["momentum"]),
            dampening=float(group["dampening"]),
            weight_decay=float(group["weight_decay"]),
            nesterov=bool(group["nesterov"]),
            first=first,
        )


class Adam(Optimizer):
    """Adaptive moment estimation (Kingma & Ba 2014, arXiv:1412.6980); weight decay is added to the gradient.

    >>> import coolnn as cool
    >>> p = cool.nn.Parameter(cool.ones(1))
    >>> optimizer = cool.optim.Adam([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> round(float(p), 4)
    0.9
    """

    state_tensors = ("exp_avg", "exp_avg_sq")
    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _numbers(self, state: dict[str, Any], group: Group, scale: float) -> tuple[float, ...]:
        state["step"] = step = int(state.get("step", 0)) + 1
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return group["lr"], scale, 1 - beta1**step, 1 - beta2**step

    def _update(self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: Group, hyper: Tensor) -> None:
        if "exp_avg" not in state:
            state.update(exp_avg=_zeros_like(parameter), exp_avg_sq=_zeros_like(parameter))
        beta1, beta2 = (float(beta) for beta in group["betas"])
        average, square = state["exp_avg"], state["exp_avg_sq"]
        apply_into(
            update.ADAM_STEP,
            (parameter, grad, average, square, hyper),
            (parameter, average, square),
            beta1=beta1,
            beta2=beta2,
            eps=float(group["eps"]),
            weight_decay=float(group["weight_decay"]),
            decoupled=self.decoupled,
        )


class AdamW(Adam):
    """Adam whose weight decay acts on the weights themselves, not through the gradient (Loshchilov & Hutter 2017,
    arXiv:1711.05101).

    >>> import coolnn as cool
    >>> p = cool.nn.Parameter(cool.ones(1))
    >>> optimizer = cool.optim.AdamW([p], lr=0.1, weight_decay=0.1)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> round(float(p), 4)
    0.89
    """

    decoupled = True

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)


class RMSprop(Optimizer):
    """Divides the gradient by a running root mean square of itself (Hinton 2012, lecture 6e), as in PyTorch.

    >>> import coolnn as cool
    >>> p = cool.nn.Parameter(cool.ones(1))
    >>> optimizer = cool.optim.RMSprop([p], lr=0.01)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> round(float(p), 4)
    0.9
    """

    state_tensors = ("square_avg", "momentum_buffer")

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)

    def _check(self, group: Group) -> None:
        super()._check(group)
        if not 0 <= group["alpha"] < 1:
            raise ValueError(f"alpha must lie in [0, 1), not {group['alpha']}")

    def _update(self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: Group, hyper: Tensor) -> None:
        if "square_avg" not in state:
            state["square_avg"] = _zeros_like(parameter)
        if group["momentum"] != 0 and "momentum_buffer" not in state:
            state["momentum_buffer"] = _zeros_like(parameter)
        buffer = state["momentum_buffer"] if group["momentum"] != 0 else None
        outputs = (parameter, state["square_avg"])
        apply_into(
            update.RMSPROP_STEP,
            (parameter, grad, state["square_avg"], buffer, hyper),
            outputs if buffer is None else (*outputs, buffer),
            alpha=float(group["alpha"]),
            eps=float(group["eps"]),
            weight_decay=float(group["weight_decay"]),
            momentum=float(group["momentum"]),
        )
