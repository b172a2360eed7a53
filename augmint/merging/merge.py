"""The whole merge of network descriptions, without torch: contraction, widths, the new network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from augmint.merging.contraction import Contraction, Rules, contract
from augmint.merging.graph import INPUT, OUTPUT
from augmint.merging.lowering import Lowered, lower
from augmint.merging.network import Network
from augmint.merging.plan import Plan, make_plan
from augmint.merging.shapes import totals
from augmint.merging.widths import Allocation, Measure, allocate, parse_budget


@dataclass(frozen=True)
class Merge:
    """A merged network and all that led to it.

    Args:
        contraction: the steps and what was refused.
        plan: what was decided before widths.
        allocation: the widths and their cost.
        lowered: the network as operations.
    """

    contraction: Contraction
    plan: Plan
    allocation: Allocation
    lowered: Lowered

    @property
    def network(self) -> Network:
        """The merged network."""
        return self.lowered.network

    def report(self) -> dict[str, Any]:
        """Return what `merge.json` holds: plain JSON.

        Example:
            >>> from augmint.merging.notation import chain
            >>> nets = [chain(k, (1, 8, 8), f"3C:4 {k}C:4 3C:1") for k in "57"]
            >>> merge_networks(nets).report()["nodes"]
            {'parallel': 4, 'forward': 3, 'backward': 3}
        """
        measure = self.allocation.measure
        parents: list[dict[str, Any]] = [
            {"name": n.name, **totals(n)} for n in self.contraction.as_given
        ]
        merged = totals(self.network)
        convolutions = sum(p["convolution_weights"] for p in parents)
        saved = 1 - merged["convolution_weights"] / convolutions if convolutions else 0.0
        return {
            "parents": parents,
            "merged": {"name": self.network.name, **merged},
            "convolution_weights_saved": saved,
            "parameters_saved": 1 - merged["parameters"] / sum(p["parameters"] for p in parents),
            "budget": {
                "measure": measure,
                "asked": self.allocation.budget,
                "reached": self.allocation.count,
                "deviation": self.allocation.deviation,
                "within_1_percent": self.allocation.within,
            },
            "rules": vars(self.contraction.rules),
            "nodes": dict(zip(self._names(), self.contraction.counts, strict=True)),
            "steps": [self._step(i) for i in range(len(self.contraction.steps))],
            "refused": [{**vars(r), "layers": list(r.layers)} for r in self.contraction.refused],
            "notes": self.plan.notes,
        }

    def _names(self) -> list[str]:
        return [step.name for step in self.contraction.steps]

    def _step(self, index: int) -> dict[str, Any]:
        step = self.contraction.steps[index]
        rows = [
            {
                "letter": label.letter,
                "structure": label.structure,
                "distance": label.distance,
                "layers": [":".join(m.origin) for m in step.graph.nodes[n]["members"]],
                "after": sorted(
                    INPUT if u == INPUT else step.labels[u].letter
                    for u in step.graph.predecessors(n)
                ),
            }
            for n, label in step.labels.items()
        ]
        return {"name": step.name, "direction": step.direction, "nodes": step.nodes, "layers": rows}

    def edges(self) -> set[tuple[str, str]]:
        """Return the connections of the contracted graph by the names of the merged layers.

        Example:
            >>> from augmint.merging.notation import chain
            >>> twins = [chain(name, (1, 8, 8), "3C:4 5C:1") for name in "ab"]
            >>> sorted(merge_networks(twins).edges())
            [('1-3C', '2-5C'), ('2-5C', 'output'), ('input', '1-3C')]
        """
        names = {INPUT: INPUT, OUTPUT: OUTPUT, **self.lowered.names}
        return {(names[u], names.get(v, OUTPUT)) for u, v in self.plan.graph.edges}


def merge_networks(
    parents: Sequence[Network],
    budget: str | float | None = None,
    rules: Rules | None = None,
    measure: Measure = "parameters",
    name: str = "merged",
    keep_dense: bool = False,
) -> Merge:
    """Merge networks into one.

    Args:
        parents: two or more descriptions with the same input and output shapes. Equal names get
            numbers.
        budget: "1.0x" of the mean parent, or a number; None keeps the parents' widths.
        rules: of the contraction.
        measure: what the budget counts.
        name: of the merged network.
        keep_dense: dense layers keep their neurons; else they get widths as convolutions do.

    Raises:
        IncompatibleError: parents that cannot be merged.
        UsageError: a budget that no widths reach.

    Example:
        >>> from augmint.merging.notation import chain
        >>> a = chain("a", (1, 8, 8), "3C:16 2P 3C:16 10F")
        >>> b = chain("b", (1, 8, 8), "5C:16 2P 3C:16 10F")
        >>> merged = merge_networks([a, b], "1.0x")
        >>> merged.contraction.counts, merged.allocation.within
        ([4, 3, 3], True)
    """
    contraction = contract(distinct(parents), rules)
    return finish(contraction, budget, measure, name, keep_dense)


def finish(
    contraction: Contraction,
    budget: str | float | None = None,
    measure: Measure = "parameters",
    name: str = "merged",
    keep_dense: bool = False,
) -> Merge:
    """Choose widths for a contracted graph and write the network; see `merge_networks`.

    Example:
        >>> from augmint.merging.notation import chain
        >>> twins = [chain(name, (1, 8, 8), "3C:4 3C:2", norm="none") for name in "ab"]
        >>> merge = finish(contract(twins))
        >>> merge.network.name, merge.allocation.count
        ('merged', 114)
    """
    plan = make_plan(contraction, keep_dense)
    allocation = allocate(plan, parse_budget(budget, contraction.parents, measure), measure)
    return Merge(contraction, plan, allocation, lower(plan, allocation.widths, name))


def distinct(parents: Sequence[Network]) -> list[Network]:
    """Return the networks, those that share a name numbered.

    Example:
        >>> from augmint.merging.notation import chain
        >>> [n.name for n in distinct([chain(name, (1, 8, 8), "3C:1") for name in "aba"])]
        ['a-1', 'b', 'a-2']
    """
    names = [n.name for n in parents]
    taken = {name for name in names if names.count(name) == 1}
    found = []
    for network in parents:
        if names.count(network.name) > 1:
            numbered = (f"{network.name}-{i}" for i in itertools.count(1))
            network = replace(network, name=next(n for n in numbered if n not in taken))
            taken.add(network.name)
        found.append(network)
    return found


def resized(network: Network, budget: int, measure: Measure = "parameters") -> Network:
    """Return one network with widths for a budget: what a parent would be at the merged size.

    Example:
        >>> from augmint.merging.notation import chain
        >>> small = resized(chain("a", (1, 8, 8), "3C:16 2P 3C:16 10F"), 3000)
        >>> small.name, abs(totals(small)["parameters"] / 3000 - 1) < 0.01
        ('a', True)
    """
    pair = [network, replace(network, name=f"{network.name}'s twin")]
    rules = Rules(output="node")  # both are joined layer by layer: the result is the network itself
    return merge_networks(pair, budget, rules, measure, network.name).network


def replace_widths(merge: Merge, widths: dict[int, int], name: str = "merged") -> Merge:
    """Return the same merge with other widths, by node of the contracted graph.

    Example:
        >>> from augmint.merging.notation import chain
        >>> merge = merge_networks([chain(name, (1, 8, 8), "3C:4 3C:2") for name in "ab"])
        >>> first = merge.contraction.place("a", "1-C")
        >>> [m.allocation.widths[first] for m in (merge, replace_widths(merge, {first: 7}))]
        [4, 7]
    """
    allocation = replace(
        merge.allocation, widths={**merge.allocation.widths, **widths}, budget=None
    )
    lowered = lower(merge.plan, allocation.widths, name)
    count = totals(lowered.network)[allocation.measure]
    return Merge(merge.contraction, merge.plan, replace(allocation, count=count), lowered)
