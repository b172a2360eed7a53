"""GAN training: determinism, exact resumption, and nothing computed that is thrown away."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from augmint.aspects.base import Schema
from augmint.core.errors import DataError, IncompatibleError, InterruptedRunError, UsageError
from augmint.core.runs import EventLog, load_checkpoint
from augmint.training.batches import TrainingImages
from augmint.training.config import GanConfig
from augmint.training.gan import GanTraining, build_generator, train_gan
from augmint.training.loop import run_phase
from augmint.training.rates import lazy_rates

Make = Callable[..., GanConfig]


def everything(training: GanTraining) -> dict[str, Tensor]:
    """All tensors of a run: networks, average, optimisers, state."""
    tensors, _ = training.guard.parts.save()
    return {k: v.clone() for k, v in tensors.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


FLOW = {"name": "flow-unet", "channels": 4, "steps": 2}
ALONE: dict[str, object] = {
    "critic": None,
    "augment": None,
    "conditioning": {"name": "concatenation", "critic": False, "enters": "conditional-norm"},
}
VARIANTS = {
    "default": {},
    "two critic steps": {"generator_interval": 2},
    "simultaneous": {"simultaneous": True},
    "shared images": {"fresh_latents": False, "generator_interval": 2},
    "lazy penalty, bf16": {"penalties": ({"name": "r1", "interval": 3},), "precision": "bf16"},
    "gradient penalty": {"penalties": ("gradient-penalty",), "objective": "hinge"},
    "auxiliary on both, dropout": {
        "conditioning": {"name": "vac", "network": "vac-mnist-classifier", "trains_on": "both"},
    },
    "as in the data": {"fake_aspects": "data", "augment": None, "auxiliary_augment": None},
    "as in the batch": {"fake_aspects": "batch"},
    "unconditional": {"conditioning": "none"},
    "flow": {**ALONE, "objective": "flow-matching", "generator": FLOW, "latent_dim": 144},
    "auto-encoder": {
        **{**ALONE, "precision": "bf16", "decay_from": 0.5, "steps": 12},
        **{"objective": {"name": "vae", "corruption": 0.1}},
        "generator": {"name": "vae", "channels": 4},
    },
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_interrupted_and_resumed_equals_straight(
    changes: dict[str, object], tiny: Make, data: TrainingImages, schema: Schema, tmp_path: Path
) -> None:
    config = tiny(**changes)
    straight = GanTraining(config, data, schema, seed=5)
    straight.recorder.interval = 4
    expected = straight.run(progress=False)
    assert all(np.isfinite(v) for row in expected.logs for v in row.values())

    first = GanTraining(config, data, schema, 5, tmp_path)
    first.recorder.interval = 4
    asked = iter([False] * 4 + [True])
    with pytest.raises(InterruptedRunError, match="step 5 of 12"):
        first.run(progress=False, stop=lambda: next(asked))
    second = GanTraining(config, data, schema, 5, tmp_path)
    second.recorder.interval = 4
    got = second.run(progress=False)
    assert same(everything(straight), everything(second))
    assert got.generator_digest == expected.generator_digest
    assert got.logs == expected.logs
    assert got.images_shown == 12 * 6
    # a third time: nothing is left to do
    again = GanTraining(config, data, schema, 5, tmp_path)
    monitored = again.phases[0].losses
    again.phases[0].losses = None  # type: ignore[method-assign, assignment]
    assert again.run(progress=False).generator_digest == expected.generator_digest
    assert monitored is not None


def test_two_seeds_differ_and_one_repeats(tiny: Make, data: TrainingImages, schema: Schema) -> None:
    runs = [train_gan(tiny(steps=3), data, schema, s, progress=False) for s in (1, 1, 2)]
    assert runs[0].generator_digest == runs[1].generator_digest != runs[2].generator_digest


def test_what_ran_before_changes_nothing(tiny: Make, data: TrainingImages, schema: Schema) -> None:
    first = train_gan(tiny(steps=3), data, schema, 1, progress=False)
    torch.manual_seed(99)
    torch.rand(5)
    state = torch.get_rng_state()
    second = train_gan(tiny(steps=3), data, schema, 1, progress=False)
    assert first.generator_digest == second.generator_digest
    assert torch.equal(state, torch.get_rng_state())


def test_a_run_folder_refuses_another_configuration(
    tiny: Make, data: TrainingImages, schema: Schema, tmp_path: Path
) -> None:
    train_gan(tiny(steps=2), data, schema, 1, tmp_path, progress=False)
    longer = train_gan(tiny(steps=4), data, schema, 1, tmp_path, progress=False)
    straight = train_gan(tiny(steps=4), data, schema, 1, progress=False)
    assert longer.generator_digest == straight.generator_digest
    for config, seed in ((tiny(latent_dim=9), 1), (tiny(), 2)):
        with pytest.raises(UsageError, match="one configuration, seed and data set"):
            train_gan(config, data, schema, seed, tmp_path, progress=False)
    kinds = [e["kind"] for e in EventLog.read(tmp_path / "events.jsonl")]
    assert kinds[:4] == ["started", "ended"] * 2


def test_a_damaged_newest_checkpoint_falls_back_and_ends_the_same(
    tiny: Make, data: TrainingImages, schema: Schema, tmp_path: Path
) -> None:
    straight = train_gan(tiny(), data, schema, 1, progress=False)
    training = GanTraining(tiny(steps=8), data, schema, 1, tmp_path)
    asked = iter([False] * 3 + [True])
    with pytest.raises(InterruptedRunError):
        training.run(progress=False, stop=lambda: next(asked))
    train_gan(tiny(steps=8), data, schema, 1, tmp_path, progress=False)
    newest = max((tmp_path / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-100])
    found = load_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    assert found.step == 4
    resumed = train_gan(tiny(), data, schema, 1, tmp_path, progress=False)
    assert resumed.generator_digest == straight.generator_digest


def test_the_generator_phase_records_no_graph_of_the_critic(
    tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    training = GanTraining(tiny(), data, schema, 1)
    critic, generator = training.phases
    run_phase(critic, 1)
    beside = [*training.game.critic_parameters, *training.game.auxiliaries.parameters()]
    for p in beside:
        p.grad = None
    seen: set[int] = set()
    losses, _ = generator.losses(1)

    def walk(node: object) -> None:
        for child, _ in getattr(node, "next_functions", ()):
            if child is not None and child not in reached:
                reached.add(child)
                walk(child)

    reached: set[object] = set()
    walk(losses["generator"].grad_fn)
    seen = {id(n.variable) for n in reached if hasattr(n, "variable")}
    assert seen >= {id(p) for p in training.game.generator.parameters()}
    assert seen.isdisjoint(id(p) for p in beside)
    run_phase(generator, 2)
    assert all(p.grad is None for p in beside)
    assert all(p.requires_grad for p in beside)


def test_the_critic_phase_records_no_graph_of_the_generator(
    tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    training = GanTraining(tiny(), data, schema, 1)
    shown: list[Tensor] = []
    generate = training.game.generate

    def watched(*arguments: object) -> object:
        fakes = generate(*arguments)  # type: ignore[arg-type]
        shown.append(fakes.images)
        return fakes

    training.game.generate = watched  # type: ignore[method-assign, assignment]
    before = [p.detach().clone() for p in training.game.generator.parameters()]
    run_phase(training.phases[0], 1)
    assert not shown[0].requires_grad
    assert all(p.grad is None for p in training.game.generator.parameters())
    after = list(training.game.generator.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_lazy_penalty_comes_on_its_steps_times_its_interval(
    tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    lazy = GanTraining(tiny(penalties=({"name": "r1", "interval": 4},)), data, schema, 1)
    eager = GanTraining(tiny(penalties=({"name": "r1", "interval": 1},)), data, schema, 1)
    plain = GanTraining(tiny(), data, schema, 1)

    def loss(training: GanTraining, step: int) -> float:
        return float(training.phases[0].losses(step)[0]["critic"].detach())

    # the spectral norms of the critic move a little at each forward pass, alike in all three
    for step in range(1, 4):
        assert loss(lazy, step) == loss(plain, step)
        loss(eager, step)
    penalty = loss(lazy, 4) - (base := loss(plain, 4))
    assert penalty > 0
    assert base > 0
    single = GanTraining(tiny(penalties=({"name": "r1", "interval": 2},)), data, schema, 1)
    for step in (1, 3, 5):
        loss(single, step)
    assert penalty == pytest.approx(2 * (loss(single, 4) - base), rel=1e-4)
    critic, generator = (lazy.groups[n].optimiser.param_groups[0] for n in ("critic", "generator"))
    assert critic["lr"] == pytest.approx(GanConfig().critic_rate * 4 / 5)
    assert critic["betas"] == (0.0, 0.9**0.8)
    assert (generator["lr"], generator["betas"]) == (GanConfig().generator_rate, (0.0, 0.9))


@pytest.mark.parametrize("both", [True, False])
def test_every_weight_moves_once_a_step(
    both: bool, tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    """InfoGAN's Q is the generator's to train, even where both players are updated at once."""
    config = tiny(conditioning="infogan", simultaneous=both, critic_clip=1e-4)
    training = GanTraining(config, data, schema, 1)
    owned = [id(p) for group in training.groups.values() for p in group.parameters]
    assert len(owned) == len(set(owned))
    code = list(training.game.heads.parameters())
    before = [p.detach().clone() for p in code]
    for phase in training.phases:
        run_phase(phase, 1)
    moved = max(float((p.detach() - q).abs().max()) for p, q in zip(code, before, strict=True))
    assert 0.0 < moved <= config.generator_rate * 1.001, "Adam's first step is its rate"


@pytest.mark.parametrize("every", [1, 2, 4])
def test_a_generators_penalty_counts_the_updates_of_the_generator(
    every: int, tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    penalty = {"name": "orthogonal", "interval": 4}
    config = tiny(penalties=(penalty,), generator_interval=every, steps=8 * every)
    phase = GanTraining(config, data, schema, 1).phases[1]
    updates = [every * k for k in range(1, 9)]
    told = [k for k in updates if "non_orthogonality" in phase.losses(k)[1]]
    assert told == [4 * every, 8 * every]


def test_lazy_rates_closed_form() -> None:
    assert lazy_rates(0.1, (0.5, 0.9), 1) == (0.1, (0.5, 0.9))
    rate, betas = lazy_rates(0.002, (0.0, 0.99), 16)
    assert rate == pytest.approx(0.002 * 16 / 17)
    assert betas == (0.0, 0.99 ** (16 / 17))


@pytest.mark.parametrize("wrong", [7, -1])
def test_labels_out_of_range_are_named_before_training(
    wrong: int, tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    labels = data.values["label"].copy()
    labels[4] = wrong
    bad = dataclasses.replace(data, values={"label": labels})
    with pytest.raises(DataError, match=f"label must be 0 to 2; got {wrong} in row 4"):
        GanTraining(tiny(), bad, schema, 1)


def test_dropout_and_noise_are_found(tiny: Make, data: TrainingImages, schema: Schema) -> None:
    assert not GanTraining(tiny(), data, schema, 1).game.stochastic
    dropout = tiny(conditioning={"name": "vac", "network": "vac-mnist-classifier"})
    assert GanTraining(dropout, data, schema, 1).game.stochastic


def test_samples_come_as_asked_and_change_nothing(
    tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    grids: dict[int, Tensor] = {}
    training = GanTraining(tiny(), data, schema, 1)
    trained = training.run(
        progress=False, on_sample=lambda s, i: grids.update({s: i}), sample_interval=5
    )
    assert list(grids) == [5, 10]
    assert grids[5].shape == (6, 1, 12, 12)
    assert grids[5].dtype == torch.uint8
    without = train_gan(tiny(), data, schema, 1, progress=False)
    assert trained.generator_digest == without.generator_digest
    assert not trained.generator.training


def test_build_generator_takes_the_trained_weights(
    tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    trained = train_gan(tiny(steps=2), data, schema, 1, progress=False)
    empty = build_generator(tiny(), schema, data.shape)
    empty.load_state_dict(trained.generator.state_dict())


def test_an_auxiliary_learns_separable_classes(tiny: Make, schema: Schema) -> None:
    label = np.arange(60) % 3
    images = np.broadcast_to((label * 100)[:, None, None, None], (60, 1, 12, 12)).astype(np.uint8)
    data = TrainingImages(images, {"label": label}, np.arange(60))
    training = GanTraining(
        tiny(steps=150, batch=16, auxiliary_rate=1e-2, auxiliary_augment=None), data, schema, 1
    )
    logs = training.run(progress=False).logs
    assert logs[-1]["loss/auxiliary.classifier"] < 0.5 * logs[0]["loss/auxiliary.classifier"]


# one process imports, and forks the runs that are killed: imports are most of a short run
NURSERY = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.training.gan import GanConfig, GanTraining, TrainingImages

folder, steps, kills, seed = Path(sys.argv[1]), *map(int, sys.argv[2:])
rng = np.random.default_rng(3)
data = TrainingImages(
    rng.integers(0, 256, (20, 1, 8, 8), dtype=np.uint8), {"label": np.arange(20) % 3}, np.arange(20)
)
config = GanConfig(
    generator={"name": "dcgan-generator", "channels": 4},
    critic={"name": "dcgan-critic", "channels": 4},
    conditioning={"name": "vac", "network": {"name": "small-cnn", "channels": 4}},
    latent_dim=8, batch=6, steps=steps,
)

def train(folder):
    training = GanTraining(config, data, Schema((Category("label", ("a", "b", "c")),)), 5, folder)
    training.recorder.interval = 10
    make = training._checkpointer
    def often(where):
        made = make(where)
        made.steps, made.seconds = 7, 0.0
        return made
    training._checkpointer = often
    print(training.run(progress=False).generator_digest, flush=True)

def child(where, seconds):
    pid = os.fork()
    if pid == 0:
        train(where)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]

start = time.monotonic()
assert child(None, None) == 0
whole = time.monotonic() - start
moments = random.Random(seed)
killed = 0
for _ in range(kills):
    status = child(folder, moments.uniform(0.1, 1.0) * whole / kills)
    killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
assert child(folder, None) == 0
print("killed", killed, flush=True)
"""


def _kill_and_resume(folder: Path, steps: int, kills: int, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NURSERY, str(folder), str(steps), str(kills), str(seed)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    straight, *_, resumed, count = done.stdout.splitlines()
    assert resumed == straight
    assert int(count.removeprefix("killed ")) >= kills // 2


def test_killed_at_random_moments_and_resumed_is_bit_identical(tmp_path: Path) -> None:
    _kill_and_resume(tmp_path, steps=150, kills=4, seed=1)


@pytest.mark.long
def test_killed_twenty_times_and_resumed_is_bit_identical(tmp_path: Path) -> None:
    _kill_and_resume(tmp_path, steps=1500, kills=20, seed=2)


def test_a_folder_is_one_process(
    tiny: Make, data: TrainingImages, schema: Schema, tmp_path: Path
) -> None:
    from augmint.core.runs import lock_folder

    with lock_folder(tmp_path), pytest.raises(UsageError, match="one process works"):
        train_gan(tiny(), data, schema, 1, tmp_path, progress=False)


def test_incompatible_parts_are_refused_before_training(
    tiny: Make, data: TrainingImages, schema: Schema
) -> None:
    critic = {"name": "dcgan-critic", "channels": 4, "normalisation": "batch"}
    with pytest.raises(IncompatibleError, match=r"r1.*dcgan-critic.*couples"):
        train_gan(tiny(critic=critic, penalties=("r1",)), data, schema, 1, progress=False)
