"""Merging networks: several networks for one task become one, by contraction of their graphs.

The method is the semi-parallel deep neural network, SPDNN (Bazrafkan and Corcoran 2018,
arXiv 1711.01943): label every layer by what it is and how far it lies from the input, join layers
with equal labels, label again from the output, join again, choose widths for a budget, train anew.

| module | what it holds |
|---|---|
| `network` | `Network`: a list of operations with their inputs; its JSON description |
| `notation` | `chain`: a network from words such as `3C:16 2P 3C:32 10F` |
| `shapes` | shapes, parameters and multiplications of every operation |
| `graph` | the layers of a network as a labelled graph; pooling as sticky marks |
| `contraction` | `Rules`, `contract`: the passes, the ancestor guard, what was refused and why |
| `widths` | channels for a budget of parameters or multiplications |
| `lowering` | the contracted graph as a `Network` again: concatenation, recalled pooling |
| `merge` | `merge_networks`: all of it in one call, without torch |
| `plan` | what a contracted graph still needs: whose value passes where, in which order |
| `inheritance` | weights of the parents in the merged network |
| `modules`, `build` | a `Network` as an `nn.Module`; `load` |
| `read` | any feed-forward `nn.Module` as a `Network`, through torch.fx |
| `layout`, `draw` | pictures of every step as SVG |
| `published` | the parents of the published merges |

Only `modules`, `build` and `read` load torch. To read or build one more kind of layer: one row in
`modules`, and its shape in `shapes` if it changes the shape.
"""
