"""PyTorch's optimizers without its compiler, whose import takes 2 s: nothing here compiles an optimizer."""

import inspect
from typing import Any

import torch


class _Uncompiled:
    """The same methods without the wrappers that import the compiler to say where it has to stop."""

    add_param_group: Any = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    state_dict: Any = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict: Any = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class Adam(_Uncompiled, torch.optim.Adam):
    """Adam (Kingma & Ba 2015); the arguments are those of `torch.optim.Adam`."""

    step: Any = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class AdamW(_Uncompiled, torch.optim.AdamW):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); the arguments are those of `torch.optim.AdamW`."""

    step: Any = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class Optimizer(_Uncompiled, torch.optim.Optimizer):
    """For optimizers of one's own."""
