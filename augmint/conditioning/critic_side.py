"""Methods that act on the critic: a class head on its features, a projection, a code to recover."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augmint.aspects.base import Aspect
from augmint.conditioning.base import Conditioning, ConditioningContext
from augmint.conditioning.encoding import by_category
from augmint.conditioning.generator_side import GeneratorSide
from augmint.core.errors import UsageError
from augmint.core.registry import CONDITIONING
from augmint.core.streams import Stream
from augmint.core.types import AspectValues, CriticOutput, Logs
from augmint.networks.blocks import SpectralLinear

CLASS_HEAD, PROJECTION, CODE_HEAD = "class_head", "projection", "code_head"


def features_of(output: CriticOutput) -> Tensor:
    """Return the critic's features, `(N, F)`.

    Raises:
        UsageError: if it gave none.
    """
    if output.features is None:
        raise UsageError(
            "the conditioning reads the critic's features", "none", "take a critic with features"
        )
    return output.features


@CONDITIONING.register("acgan")
@dataclass(frozen=True)
class Acgan(GeneratorSide):
    """A class head on the critic's features, trained with the critic.

        critic:     adversarial + real_weight · CE(C(x), y) + fake_weight · CE(C(G(z, y)), y)
        generator:  adversarial + generator_weight · CE(C(G(z, y)), y)

    with C a dense layer on the features, means over the batch, summed over the categories (Odena
    et al. 2017, 1610.09585, eq. 2-3: all three weights are 1). Both losses share the critic's
    trunk: what tells classes apart and what tells real from generated pull on the same weights,
    which VAC avoids.

    Args:
        real_weight, fake_weight: of the class losses on the critic's side. `fake_weight=0` keeps
            the labels' meaning the data's own.
        generator_weight: of the class loss on the generator's side.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> context = ConditioningContext(Schema((Category("label", ("a", "b")),)), (1, 8, 8), 4)
        >>> said = CriticOutput(torch.zeros(1), features=torch.zeros(1, 2))
        >>> heads, asked = {CLASS_HEAD: nn.Identity()}, {"label": torch.tensor([1])}
        >>> loss, _ = Acgan().critic_terms(context, heads, said, said, asked, asked)
        >>> round(loss.item(), 4)  # log 2 for real and for generated images
        1.3863
    """

    real_weight: float = 1.0
    fake_weight: float = 1.0
    generator_weight: float = 1.0
    kinds: ClassVar[frozenset[str]] = frozenset({"category"})
    needs_features: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("real_weight", "fake_weight", "generator_weight"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is not negative", getattr(self, name), f"set {name}: 1.0")

    def heads(
        self, context: ConditioningContext, feature_width: int, spectral: bool = False
    ) -> Mapping[str, nn.Module]:
        return {CLASS_HEAD: nn.Linear(feature_width, self.code_width(context))}

    def critic_terms(
        self,
        context: ConditioningContext,
        heads: Mapping[str, nn.Module],
        real: CriticOutput,
        fake: CriticOutput,
        real_aspects: AspectValues,
        fake_aspects: AspectValues,
    ) -> tuple[Tensor | None, Logs]:
        on_real = self._loss(context, heads, real, real_aspects)
        loss, logs = self.real_weight * on_real, {"class_loss_real": on_real.detach()}
        if self.fake_weight:
            on_fake = self._loss(context, heads, fake, fake_aspects)
            loss = loss + self.fake_weight * on_fake
            logs["class_loss_fake"] = on_fake.detach()
        return loss, logs

    def generator_terms(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        fake: Tensor,
        output: CriticOutput,
        aspects: AspectValues,
        latent: Tensor,
    ) -> tuple[Tensor | None, Logs]:
        loss = self._loss(context, heads, output, aspects)
        return self.generator_weight * loss, {"class_loss": loss.detach()}

    def class_logits(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        images: Tensor,
        judge: Callable[[Tensor], CriticOutput],
    ) -> Mapping[str, Tensor]:
        logits = heads[CLASS_HEAD](features_of(judge(images)))
        return by_category(self.coded(context), logits)

    def _loss(
        self,
        context: ConditioningContext,
        heads: Mapping[str, nn.Module],
        output: CriticOutput,
        values: AspectValues,
    ) -> Tensor:
        return class_loss(self.coded(context), heads[CLASS_HEAD](features_of(output)), values)


def class_loss(categories: list[Aspect], logits: Tensor, values: AspectValues) -> Tensor:
    """Return the mean cross-entropy of a batch, summed over the categories' groups of logits.

    Example:
        >>> from augmint.aspects.category import Category
        >>> label, sex = Category("label", ("a", "b", "c")), Category("sex", ("f", "m"))
        >>> values = {"label": torch.tensor([2]), "sex": torch.tensor([0])}
        >>> class_loss([label, sex], torch.zeros(1, 5), values)  # log 3 + log 2
        tensor(1.7918)
    """
    groups = logits.split([c.width for c in categories], 1)
    losses = [c.loss(g, values[c.name]).mean() for c, g in zip(categories, groups, strict=True)]
    return torch.stack(losses).sum()


@CONDITIONING.register("projection")
@dataclass(frozen=True)
class Projection(GeneratorSide):
    """The critic's score gains the inner product of its features with the code's embedding.

        D(x, e) = (V e) · f(x) + psi(f(x))

    with e the code of the aspects (a category one-hot, so that V holds one vector a class), f the
    features and psi the critic's own score (Miyato and Koyama 2018, 1802.05637, eq. 3). The form
    follows from log-linear class likelihoods; nothing else tells the generator its class. Beside a
    critic with spectral normalisation V is divided by its spectral norm too, as it is there.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> context = ConditioningContext(Schema((Category("label", ("a", "b")),)), (1, 8, 8), 4)
        >>> said = CriticOutput(torch.ones(1), features=torch.tensor([[5.0, 7.0]]))
        >>> heads, asked = {PROJECTION: nn.Identity()}, {"label": torch.tensor([1])}
        >>> Projection().critic_value(context, heads, said, asked).value
        tensor([8.])
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"category", "vector"})
    needs_features: ClassVar[bool] = True
    accepts: ClassVar[frozenset[str]] = frozenset({"score", "map"})

    def heads(
        self, context: ConditioningContext, feature_width: int, spectral: bool = False
    ) -> Mapping[str, nn.Module]:
        kind = SpectralLinear if spectral else nn.Linear
        embedding = kind(self.code_width(context), feature_width, bias=False)
        # an inner product over F features of unit size begins near the size of the score
        nn.init.normal_(embedding.weight, 0.0, feature_width**-0.5)
        if isinstance(embedding, SpectralLinear):
            embedding.settle()
        return {PROJECTION: embedding}

    def critic_value(
        self,
        context: ConditioningContext,
        heads: Mapping[str, nn.Module],
        output: CriticOutput,
        aspects: AspectValues,
    ) -> CriticOutput:
        features = features_of(output)
        code = self.code(context, aspects).to(features)
        inner = (heads[PROJECTION](code) * features).sum(1)
        value = output.value + inner.view(-1, *[1] * (output.value.ndim - 1))
        return CriticOutput(value, output.kind, output.features, output.embedding)


@CONDITIONING.register("infogan")
@dataclass(frozen=True)
class InfoGan(Conditioning):
    """Codes without labels: a head on the critic's features recovers them from generated images.

        min_G,Q max_D V - weight · L_I,    L_I = E log Q(c | G(z, c)) + H(c) <= I(c; G(z, c))

    The latent is (z, one-hot codes of `categories` values each, `continuous` values ~ U(-1, 1)).
    Q is a dense layer on the features: logits for each categorical code, means of Gaussians of
    unit variance for the continuous ones, so that -log Q is a cross-entropy and half a squared
    error (Chen et al. 2016, 1606.03657, eq. 5-6). Constants are left out of the loss.

    Q is trained with the generator, and reads features that L_I does not form: in the generator's
    phase the critic's trunk is frozen. The paper's Q shares the critic's convolutions and has a
    further dense layer of its own, so that L_I trains these too.

    Args:
        categories: number of values of each categorical code; (10,) in the paper's MNIST.
        continuous: number of continuous codes; 2 in the paper's MNIST.
        weight: lambda on categorical codes.
        continuous_weight: lambda on continuous codes, which have another unit.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.core.streams import stream
        >>> context = ConditioningContext(Schema(()), (1, 8, 8), latent_dim=4)
        >>> latent = InfoGan().sample_latent(context, {}, stream(0, "latent", ids=3))
        >>> tuple(latent.shape), latent[:, 4:14].sum(1).tolist()
        ((3, 16), [1.0, 1.0, 1.0])
    """

    categories: tuple[int, ...] = (10,)
    continuous: int = 2
    weight: float = 1.0
    continuous_weight: float = 0.1
    labels_generated: ClassVar[bool] = False
    needs_features: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if any(c < 2 for c in self.categories) or self.continuous < 0 or not self._width():
            raise UsageError(
                "a code has at least 2 values a category, and there is at least one code",
                f"categories={self.categories}, continuous={self.continuous}",
                "set categories: [10] and continuous: 2",
            )
        for name, usual in (("weight", 1.0), ("continuous_weight", 0.1)):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"infogan's {name} is not negative", getattr(self, name), f"set {name}: {usual}"
                )

    def _width(self) -> int:
        return sum(self.categories) + self.continuous

    def latent_width(self, context: ConditioningContext) -> int:
        return context.latent_dim + self._width()

    def sample_latent(
        self, context: ConditioningContext, aspects: AspectValues, stream: Stream
    ) -> Tensor:
        noise = stream.normal(context.latent_dim)
        unit = stream.uniform(len(self.categories) + self.continuous)
        parts = [noise]
        for i, values in enumerate(self.categories):
            chosen = (unit[:, i] * values).long().clamp_(max=values - 1)
            parts.append(F.one_hot(chosen, values).to(noise))
        parts.append(2.0 * unit[:, len(self.categories) :] - 1.0)
        return torch.cat(parts, 1)

    def heads(
        self, context: ConditioningContext, feature_width: int, spectral: bool = False
    ) -> Mapping[str, nn.Module]:
        return {CODE_HEAD: nn.Linear(feature_width, self._width())}

    def generator_phase_critic(
        self, heads: Mapping[str, nn.Module], critic: nn.Module
    ) -> list[Tensor]:
        return list(heads[CODE_HEAD].parameters())

    def generator_terms(
        self,
        context: ConditioningContext,
        auxiliaries: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        fake: Tensor,
        output: CriticOutput,
        aspects: AspectValues,
        latent: Tensor,
    ) -> tuple[Tensor | None, Logs]:
        found = cast("Tensor", heads[CODE_HEAD](features_of(output)))
        asked = latent[:, context.latent_dim :]
        widths = [*self.categories, self.continuous]
        *groups, means = found.split(widths, 1)
        *codes, values = asked.split(widths, 1)
        loss, logs = found.new_zeros(()), {}
        if codes:
            pairs = zip(groups, codes, strict=True)
            entropy = torch.stack([F.cross_entropy(g, c.argmax(1)) for g, c in pairs]).sum()
            loss = loss + self.weight * entropy
            logs["code_entropy"] = entropy.detach()
        if self.continuous:
            error = 0.5 * (means - values).square().sum(1).mean()
            loss = loss + self.continuous_weight * error
            logs["code_error"] = error.detach()
        return loss, logs
