"""What adversarial losses measure, in one and two dimensions, in two minutes on a CPU: `python examples/toy_divergences.py`.

1. Two Gaussians on a line: a discriminator that is trained to the end meets its closed form, its loss a divergence.
2. The same two, far apart: the gradient that reaches the generator while the discriminator becomes perfect.
3. Eight Gaussians on a ring: how many of them a small generator finds under every loss of the trainer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan_core.losses.adversarial import r1_penalty
from stylegan_core.losses.gan import GAN_LOSSES, gan_loss
from stylegan_core.training.ema import update_ema

GRID = torch.linspace(-8, 10, 1801, dtype=torch.float64)
STEP = float(GRID[1] - GRID[0])


def density(mean: Tensor | float, deviation: float = 1.0) -> Tensor:
    """Of a Gaussian, on the grid."""
    return torch.exp(-(((GRID - mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))


def integral(values: Tensor) -> Tensor:
    return values.sum() * STEP


def kl(p: Tensor, q: Tensor) -> Tensor:
    return integral(p * (p.clamp_min(1e-300).log() - q.clamp_min(1e-300).log()))


def js(p: Tensor, q: Tensor) -> Tensor:
    return (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2


def trained_discriminator(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """Logits on the grid that minimise the expected loss of two densities, found by a network that is trained to the end."""
    rng = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64) * 0.5)
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=400, history_size=50, line_search_fn="strong_wolfe")
    value = gan_loss(loss).discriminator
    nothing = torch.full_like(GRID[:, None], 1e4)  # a logit that the other term does not mind

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = network(GRID[:, None] / 4)
        total = integral(real * value(logits, -nothing)) + integral(fake * value(nothing, logits))
        total.backward()
        return total

    optimiser.step(closure)
    return network(GRID[:, None] / 4).detach().squeeze(1)


def closed_forms(shift: float = 1.5) -> Iterator[tuple[str, float, float]]:
    """(what, as trained, as the closed form says) for N(0, 1) and N(shift, 1.2)."""
    real, fake = density(0.0), density(shift, 1.2)
    logits = trained_discriminator("non-saturating", real, fake)
    seen = (real + fake) > 1e-3
    best = real / (real + fake)
    yield "D(x) of the logistic loss: largest distance from p/(p+q)", float((logits.sigmoid() - best)[seen].abs().max()), 0.0
    loss = integral(real * F.softplus(-logits) + fake * F.softplus(logits))
    yield "its loss, and log 4 - 2 JS(p, q)", float(loss), float(math.log(4) - 2 * js(real, fake))
    hinge = trained_discriminator("hinge", real, fake)
    yield ("loss of the hinge, and 2 - 2 TV(p, q)", float(integral(real * F.relu(1 - hinge) + fake * F.relu(1 + hinge))),
           float(2 * integral(torch.minimum(real, fake))))

    # What a step of the generator follows at the best discriminator, which stands still meanwhile.
    d = (real / fake).log()
    for name, value, divergence in (
            ("minimax: slope in the shift, and that of 2 JS", lambda q: -integral(q * F.softplus(d)), lambda q: 2 * js(real, q)),
            ("non-saturating: slope, and that of KL(q, p) - 2 JS", lambda q: integral(q * F.softplus(-d)),
             lambda q: kl(q, real) - 2 * js(real, q))):
        slopes = []
        for function in (value, divergence):
            at = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
            slopes.append(float(torch.autograd.grad(function(density(at, 1.2)), at)[0]))
        yield name, slopes[0], slopes[1]


def gradients_under_a_good_discriminator(steps: tuple[int, ...] = (0, 10, 30, 100, 300, 1000)) -> Iterator[tuple[int, float, float, float]]:
    """(steps of D, mean D of generated samples, gradient of minimax, of non-saturating) for samples at 0 and at 6, both ± 0.5."""
    rng = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.3)
    optimiser, done = torch.optim.Adam(network.parameters(), lr=0.01), 0
    for count in steps:
        for _ in range(count - done):
            real, fake = (torch.randn(256, 1, generator=rng) * 0.5 + place for place in (0.0, 6.0))
            optimiser.zero_grad()
            gan_loss("minimax").discriminator(network(real), network(fake)).mean().backward()
            optimiser.step()
        done = count
        z, slopes = torch.randn(2000, 1, generator=rng) * 0.5, []
        for name in ("minimax", "non-saturating"):
            place = torch.tensor(6.0, requires_grad=True)
            value = gan_loss(name).generator(network(z + place)).mean()
            slopes.append(float(torch.autograd.grad(value, place)[0].abs()))
        yield count, float(network(z + 6.0).detach().sigmoid().mean()), slopes[0], slopes[1]


def ring(loss: str, *, r1_gamma: float = 0.0, d_steps: int = 1, steps: int = 1500, batch: int = 128, seed: int = 0) -> tuple[int, float]:
    """(modes found of 8, share of samples within three deviations of one) of the average of a generator trained with a loss."""
    rng = torch.Generator().manual_seed(seed)
    angles = torch.arange(8) * (2 * math.pi / 8)
    centres, deviation = torch.stack([angles.cos(), angles.sin()], dim=1) * 2, 0.1

    def network(inputs: int, outputs: int) -> nn.Sequential:
        layers = nn.Sequential(nn.Linear(inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, outputs))
        for parameter in layers.parameters():
            nn.init.normal_(parameter, std=0.0 if parameter.ndim == 1 else 1.4 / math.sqrt(parameter.shape[1]), generator=rng)
        return layers

    generator, critic, chosen = network(2, 2), network(2, 1), gan_loss(loss)
    adam = [torch.optim.Adam(part.parameters(), lr=1e-3, betas=(0.0, 0.99)) for part in (generator, critic)]

    def score(points: Tensor, c: Tensor | None = None) -> Tensor:  # points as pictures of one pixel
        return critic(points.flatten(1))

    average = copy.deepcopy(generator)
    for step in range(steps * d_steps):
        real = centres[torch.randint(8, [batch], generator=rng)] + deviation * torch.randn(batch, 2, generator=rng)
        real, fake = real[:, :, None, None].requires_grad_(), generator(torch.randn(batch, 2, generator=rng))[:, :, None, None]
        logits = score(real)
        value = chosen.discriminator(logits, score(fake.detach()))
        if r1_gamma > 0:
            value = value + r1_gamma / 2 * r1_penalty(real, logits)
        if chosen.penalty is not None:
            value = value + chosen.penalty(score, real.detach(), fake.detach(), None, torch.rand(batch, generator=rng))
        adam[1].zero_grad()
        value.mean().backward()
        adam[1].step()
        if (step + 1) % d_steps:
            continue
        adam[0].zero_grad()
        chosen.generator(score(fake)).mean().backward()
        adam[0].step()
        update_ema(average, generator, 0.99)
    with torch.no_grad():
        distance, nearest = torch.cdist(average(torch.randn(4000, 2, generator=rng)), centres).min(dim=1)
    is_near = distance < 3 * deviation
    found = torch.bincount(nearest[is_near], minlength=8)
    return int((found >= 40).sum()), float(is_near.float().mean())  # a mode is found by 1 % of the samples, of 12.5 % that are due


def main() -> None:
    torch.set_num_threads(1)
    print("1. A discriminator that is trained to the end")
    for what, trained, closed in closed_forms():
        print(f"   {what}: {trained:.4f}, {closed:.4f}")
    print("2. The gradient that is left for the generator: steps of D, mean D(G(z)), minimax, non-saturating")
    for count, mean, minimax, non_saturating in gradients_under_a_good_discriminator():
        print(f"   {count:5d}  {mean:.1e}  {minimax:.1e}  {non_saturating:.1e}")
    print("3. Eight Gaussians, seeds 0 and 1: modes found, share of samples near one")
    for name, r1_gamma, d_steps in [*((name, 0.0, 1) for name in GAN_LOSSES), ("wgan-gp", 0.0, 5), ("non-saturating", 0.3, 1)]:
        found = [ring(name, r1_gamma=r1_gamma, d_steps=d_steps, seed=seed) for seed in (0, 1)]
        words = " and ".join(f"{modes} modes, {share:.0%}" for modes, share in found)
        print(f"   {name}{' + R1' if r1_gamma else ''}{f', {d_steps} steps of D for one of G' if d_steps > 1 else ''}: {words}")


if __name__ == "__main__":
    main()
