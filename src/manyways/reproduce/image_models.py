"""The networks of Appendix F: the generator of DCGAN (Radford et al. 2015), and a VAE around the same one."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from manyways.errors import InputError


def generator(dimension: int, shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Return DCGAN's generator: a projection, then strided transposed convolutions that double height and width.

    The projection is to 4x4 as in the original where the size allows, else to 7x7 (28) or 2x2 (8). The channels halve
    at each doubling, down to `width` before the last.

    Args:
        dimension: of a code.
        shape: (channels, height, width) of an image.
        width: channels before the last layer; 64 in the original.

    Raises:
        InputError: images that are not square, or of a side that is not a small number doubled twice or more.
    """
    start, doublings = _start(shape)
    channels = [width * 2**n for n in reversed(range(doublings))]
    layers: list[nn.Module] = [
        nn.Linear(dimension, channels[0] * start**2, bias=False),
        nn.Unflatten(1, (channels[0], start, start)),
    ]
    for inputs, outputs in zip(channels, [*channels[1:], None], strict=True):
        layers += [nn.BatchNorm2d(inputs), nn.ReLU()]
        last = outputs is None
        layers.append(nn.ConvTranspose2d(inputs, outputs or shape[0], 4, stride=2, padding=1, bias=last))
    return nn.Sequential(*layers, nn.Sigmoid())


def encoder(dimension: int, shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Return the generator's mirror image, from images to the mean and log variance of a code, (n, 2 dimension)."""
    start, doublings = _start(shape)
    channels = [width * 2**n for n in range(doublings)]
    layers: list[nn.Module] = []
    for inputs, outputs in zip([shape[0], *channels[:-1]], channels, strict=True):
        layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * start**2, 2 * dimension))


def _start(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return the side of the projection and how often it is doubled."""
    _, height, width = shape
    side, doublings = height, 0
    while side % 2 == 0 and (side > 4 or doublings < 2):
        side, doublings = side // 2, doublings + 1
    if height != width or doublings < 2 or side > 7:
        raise InputError(
            f"images of {height}x{width} do not fit DCGAN's generator; give squares of 8, 16, 28, 32 or 64"
        )
    return side, doublings


class VAE(nn.Module):
    """A variational autoencoder (Kingma and Welling 2014) for comparison, with SOG's generator and an encoder.

    Its σ is the maximum-likelihood value of each batch, so it needs no tuning.

    Args:
        dimension: of a code.
        shape: (channels, height, width) of an image.
        width: see `generator`.
    """

    def __init__(self, dimension: int, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.dimension = dimension
        self.encoder = encoder(dimension, shape, width)
        self.generator = generator(dimension, shape, width)

    def loss(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return the negative evidence lower bound of a batch, in nats an image, up to a constant.

        Args:
            images: (n, channels, height, width).
            noise: (n, dimension), from a standard normal distribution.
        """
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        outputs = self.generator(mean + noise * (log_variance / 2).exp())
        size = images[0].numel()
        reconstruction = size / 2 * functional.mse_loss(outputs, images).log()
        divergence = (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1).mean() / 2
        return reconstruction + divergence

    def train_on(
        self,
        images: Tensor,
        *,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        seed: int,
        callback: Callable[[int], object],
    ) -> None:
        """Train with Adam at a rate that falls to 0 linearly, as SOG does; `callback` gets the number of epochs."""
        rng = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(self.parameters(), learning_rate)
        batches = -(-len(images) // batch_size)
        self.train()
        for epoch in range(epochs):
            for number, rows in enumerate(torch.randperm(len(images), generator=rng).tensor_split(batches)):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * (1 - (epoch * batches + number) / (epochs * batches))
                loss = self.loss(images[rows], torch.randn(len(rows), self.dimension, generator=rng))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            callback(epoch + 1)
        self.eval()

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return the mean of each image's code, (n, dimension)."""
        self.eval()
        return torch.cat([self.encoder(part).chunk(2, dim=1)[0] for part in torch.split(images, 512)])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Return the images of codes."""
        self.eval()
        return torch.cat([self.generator(part) for part in torch.split(codes, 512)])
