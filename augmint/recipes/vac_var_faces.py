"""VAC and VAR in one: faces of a class with landmarks, the future work of both papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from augmint.core.registry import RECIPES
from augmint.recipes.requested import RequestedConfig, RequestedRecipe
from augmint.recipes.vac_family import DEBUG
from augmint.recipes.var_faces import SHARED, began, debug_config, measurer
from augmint.tasks.config import TaskConfig


@RECIPES.register("vac-var-faces")
@dataclass(frozen=True)
class VacVarFaces(RequestedRecipe):
    """A class and landmarks asked for at once, beside each alone, on a BEGAN of 48 px.

    `both` is VAC and VAR in one; `var` asks for the landmarks alone, `vac` for the class alone.

    Example:
        >>> config = VacVarFaces().configure("text")
        >>> both = config.gans["both"].conditioning
        >>> list(config.gans), both["classifier"]["zeta"], both["regressor"]["zeta"]
        (['both', 'var', 'vac'], 0.003, 0.03)
        >>> VacVarFaces().configure("text", debug=True).size
        (32, 32)
    """

    title: ClassVar[str] = "VAC and VAR together, faces of a class with given landmarks"
    source: ClassVar[str] = "the future work of arXiv:1805.00316 and arXiv:1805.10864"
    variants: ClassVar[tuple[str, ...]] = ("text",)
    kinds: ClassVar[frozenset[str]] = frozenset({"landmarks", "category"})
    expected: ClassVar[Mapping[str, float | str]] = {
        "error_landmarks_both": "not published; ours to reach: that of var",
        "error_label_both": "not published; ours to reach: that of vac",
    }
    data_hint: ClassVar[str] = "faces with landmarks and one class"

    def configure(self, variant: str, debug: bool = False) -> RequestedConfig:
        """Return networks, training and measures; the debug version is of 32 px."""
        channels, steps, hidden = (4, 4, 16) if debug else (64, 200_000, 1024)
        regressor = {"name": "var-regressor", "channels": channels, "hidden": hidden}
        alone = began(0.03, channels=channels, steps=steps, regressor=regressor)
        classifier: dict[str, Any] = {
            "name": "small-cnn", "channels": 16, "normalisation": "none", "dropout": 0.0,
        }  # fmt: skip
        shared: dict[str, Any] = {"theta": 0.97, "latent": "uniform"}
        teacher = {"network": classifier, "zeta": 0.003, "trains_on": "both"}
        reader = {"network": regressor, "zeta": 0.03, "trains_on": "both"}
        both = {"name": "vac-var", "classifier": teacher, "regressor": reader, **shared}
        vac = {"name": "vac", **teacher, **shared}
        gans = {
            "both": replace(alone, conditioning=both, fake_aspects="balanced"),
            "var": alone,
            "vac": replace(alone, conditioning=vac, fake_aspects="balanced"),
        }
        if debug:
            judge = TaskConfig(network={"name": "small-cnn", "channels": 8}, steps=8)
            return replace(debug_config(gans=gans), judge=judge)
        return RequestedConfig(gans, {}, measurer(), TaskConfig(steps=4000), size=(48, 48))

    def deviations(self, variant: str, debug: bool = False) -> Sequence[str]:
        """Return where the configuration leaves its sources."""
        told = [
            *SHARED,
            "no configuration is published: networks and weights are those of VAR on a BEGAN, and "
            "the weight of the class is that of VAC on one",
        ]
        return [*told, DEBUG] if debug else told
