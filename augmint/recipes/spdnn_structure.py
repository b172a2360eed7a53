"""What the recipes of published merges share: merge, count, draw, build; nothing is trained."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

from augmint.core.streams import scope
from augmint.merging.draw import draw_merge
from augmint.merging.merge import Merge, merge_networks
from augmint.merging.published import Published, published, released
from augmint.recipes.base import Outcome, Recipe, Surroundings


@dataclass(frozen=True)
class StructureConfig:
    """Everything that a merge depends on.

    Args:
        merge: name of the published merge.
        case: its parents, shape and rules.
        widths: those of the "parents", for a "budget", or of the "released" network.
        budget: where widths are for a budget.
    """

    merge: str
    case: Published
    widths: Literal["parents", "budget", "released"] = "parents"
    budget: str | None = None


@dataclass(frozen=True)
class StructureRecipe(Recipe[StructureConfig]):
    """A published merge, without training: layers at every step, parameters, drawings."""

    needs_data = False

    def run(self, config: StructureConfig, surroundings: Surroundings) -> Outcome:
        """Merge, draw, build the network and run it once."""
        merge = merge_case(config)
        report = merge.report()
        built, output = _built(merge, surroundings.seed)
        counted = {f"nodes_{name}": n for name, n in report["nodes"].items()}
        merged, parents = report["merged"], report["parents"]
        metrics: dict[str, float | None] = {
            **counted,
            "connections": merge.contraction.graph.number_of_edges(),
            "parameters_of_the_parents": sum(p["parameters"] for p in parents),
            "parameters_merged": merged["parameters"],
            "parameters_built": built,
            "convolution_weights_merged": merged["convolution_weights"],
            "convolution_weights_saved": report["convolution_weights_saved"],
            "parameters_saved": report["parameters_saved"],
            "refused_merges": len(report["refused"]),
        }
        protocols = {
            "parameters_built": f"counted in the built module; one image gives {output}",
            "convolution_weights_saved": "share of the weights of the parents' convolutions, "
            "biases and normalisation left out",
            "parameters_saved": "share of all parameters of the parents",
            "refused_merges": "equal labels that were not joined; reasons in merge.json",
        }
        files = {
            "merge.json": json.dumps(report, indent=1) + "\n",
            "network.json": json.dumps(merge.network.to_json(), indent=1) + "\n",
            "table.txt": structure_table(merge),
            **draw_merge(merge),
        }
        details = {"nodes": report["nodes"], "parents": parents, "merged": merged}
        return Outcome(metrics, protocols, files=files, details=details)


def structure(
    merge: str,
    widths: Literal["parents", "budget", "released"],
    budget: str | None = None,
    shape: tuple[int, ...] | None = None,
) -> StructureConfig:
    """Return the configuration of a published merge, for images of another shape if given.

    Example:
        >>> structure("spdnn-iris", "released", shape=(1, 24, 32)).case.shape
        (1, 24, 32)
    """
    case = published(merge)
    return StructureConfig(
        merge, case if shape is None else replace(case, shape=shape), widths, budget
    )


def merge_case(config: StructureConfig) -> Merge:
    """Return the merge of a configuration.

    Example:
        >>> merge_case(structure("spdnn-iris", "released")).contraction.counts
        [40, 25, 13]
    """
    case = config.case
    if config.widths == "released":
        return released(config.merge, case.shape)
    return merge_networks(
        case.parents(), config.budget, case.rules, name=config.merge, keep_dense=case.keep_dense
    )


def structure_table(merge: Merge) -> str:
    """Return parents, steps and result as lines of text.

    Example:
        >>> lines = structure_table(merge_case(structure("spdnn-iris", "released"))).splitlines()
        >>> lines[-3]
        'layers: parallel 40, forward 25, backward 13'
    """
    report = merge.report()
    rows = [*report["parents"], report["merged"]]
    width = max(len(r["name"]) for r in rows)
    lines = [f"{'network':<{width}}  {'parameters':>11}  {'conv weights':>12}  multiplications"]
    lines += [
        f"{r['name']:<{width}}  {r['parameters']:>11}  {r['convolution_weights']:>12}  "
        f"{r['multiplications']:>15}"
        for r in rows
    ]
    lines += ["", "layers: " + ", ".join(f"{name} {n}" for name, n in report["nodes"].items())]
    lines.append(f"convolution weights saved: {100 * report['convolution_weights_saved']:.1f} %")
    lines.append(f"parameters saved: {100 * report['parameters_saved']:.1f} %")
    return "\n".join(lines) + "\n"


def _built(merge: Merge, seed: int) -> tuple[int, str]:
    """Return the parameters of the built module, and the shape that it makes of one image."""
    import torch

    from augmint.merging.build import build

    with scope(seed, "recipe.merged"), torch.inference_mode():
        module = build(merge.network).eval()
        output = module(torch.zeros(1, *merge.network.shape))
    return sum(p.numel() for p in module.parameters()), "x".join(map(str, output.shape[1:]))
