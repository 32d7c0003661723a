"""The classes of networks by kind, to read policy files."""

from typing import Any

from manyways.errors import InputError
from manyways.networks.base import ActionNetwork

_NETWORKS: dict[str, type[ActionNetwork]] = {}


def register_network(network: type[ActionNetwork]) -> type[ActionNetwork]:
    """Register a class of networks by its `kind`, so that its policy files can be read; a decorator."""
    _NETWORKS[network.kind] = network
    return network


def network_class(kind: str) -> type[Any]:
    """Return the class of this kind.

    Raises:
        InputError: there is none; one of another package must be imported first.
    """
    from manyways.networks import bet, diffusion, mdn, vq_bet  # noqa: F401, which register themselves

    if kind not in _NETWORKS:
        raise InputError(
            f"a policy of the kind {kind!r} is not known; import the package that registers it (the kinds are "
            f"{', '.join(sorted(_NETWORKS))})"
        )
    return _NETWORKS[kind]
