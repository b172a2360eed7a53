"""Tasks: the network whose gain or loss a study measures, its aspect, its loss and its scores.

The axis is `TASKS` (`augmint.core.registry`); the base is `base.Task`.

| module | what it holds |
|---|---|
| `base` | `Task`: checks, trains, scores, diagnoses; `task_for`, `task_of` |
| `config` | `TaskConfig`: network, schedule, budget |
| `rows` | `Source` (what is trained on), `RealRows` (what may be scored) |
| `classification` | `classification`: one category |
| `landmarks` | `landmarks`: named points; NME, PCK, failure rate, AUC |
| `regression` | `regression`: a vector of numbers; MAE, R² |
| `segmentation` | `segmentation`: the class of every pixel; mIoU, Dice, the nine measures |
| `dense` | `dense`: numbers for every pixel; MAE |
| `phase` | how all of them are trained: AdamW, one-cycle rate, the aspect's loss |
| `sampling` | which rows step s trains on: exact shares, epochs of permutations, no history |
| `trained` | `TrainedTask`: predictions, probabilities, features of uint8 images; saved, loaded |
| `scores` | `Measure`, `Scores` (points, per image), `ClassificationScores`, `Diagnosis` … |
| `user_model` | the user's own network, from `file.py:make_net` and safetensors weights |

Scores decide, so `score` takes `RealRows` only; `diagnose` takes any images and explains, and no
verdict accepts what it gives. A study reads `Scores.points` and `Scores.per_image` and so needs to
know of no task. Importing a task loads no torch.

To add a task: a frozen dataclass in a new module, decorated with `@TASKS.register("its-name")`,
that declares `kinds`, `role`, `measure`, `defaults` and `asks`, and says how it scores (`_scores`).
"""
