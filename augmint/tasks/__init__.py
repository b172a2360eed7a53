"""Tasks: the network whose gain or loss a study measures, its aspect, its loss and its scores.

The axis is `TASKS` (`augmint.core.registry`); the base is `base.Task`.

| module | what it holds |
|---|---|
| `base` | `Task`, `TaskConfig`, `Source` (what is trained on), `RealRows` (what may be scored) |
| `classification` | `classification`: one category, AdamW, one-cycle rate |
| `sampling` | which rows step s trains on: exact shares, epochs of permutations, no history |
| `trained` | `TrainedTask`: logits, probabilities, features of uint8 images; saved and loaded |
| `scores` | `ClassificationScores`, `Diagnosis` |
| `user_model` | the user's own network, from `file.py:make_net` and safetensors weights |

Scores decide, so `score` takes `RealRows` only; `diagnose` takes any images and gives a `Diagnosis`,
which no verdict accepts. Importing `base` loads no torch.

To add a task: a frozen dataclass in a new module, decorated with `@TASKS.register("its-name")`,
with `train` and `score`.
"""
