"""Attacks on configurations, on assignments and on the other words of a command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from arena import DEEP, NAMES, NUMBERS, Act, Arena, attack, damaged

_LAUGHS = "\n".join(
    ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)
_TEXTS: tuple[str | bytes, ...] = (
    _LAUGHS,
    _LAUGHS.replace("a11: &a11", "arms: &a11"),
    "task: &t\n  network: *t\n",
    "&x [*x]",
    "task: &t {steps: 5}\npolicy: {<<: *t}\n",
    "!!python/object/apply:os.mkdir ['canary']",
    "seeds: !!python/object/apply:os.mkdir ['canary']",
    "seeds: !!python/name:os.system",
    "seeds: !!python/object/new:os.mkdir ['canary']",
    "seeds: !!python/module:os",
    "seeds: !!binary aGVsbG8=",
    "seeds: !!set {1, 2}",
    "arms: !!omap [a: 1]",
    "seeds: !!timestamp 2020-13-45",
    "seeds: 2020-13-45",
    "seeds: 2020-01-02",
    "seeds: 2020-01-02T03:04:05Z",
    "seeds: !!int 'x'",
    "seeds: !!float 'x'",
    "seeds: !!bool 'x'",
    "seeds: !!int ''",
    "seeds: 1" + "0" * 5000,
    "seeds: 0x" + "f" * 5000,
    "seeds: 1:2:3",
    "seeds: .nan",
    "delta: .inf",
    "delta: 1e999",
    "seeds: [" * 3000,
    "[" * DEEP,
    "{" * DEEP,
    "- " * DEEP,
    "? " * 2000,
    "a: " * 2000,
    "? [1, 2]\n: 3",
    "? {a: 1}\n: 3",
    "1: 2",
    "null: 2",
    ".nan: 2",
    "seeds: 3\nseeds: 4\n",
    "task:\n  steps: 1\n  steps: 2\n",
    "---\nseeds: 3\n---\nseeds: 4\n",
    "%YAML 9.9\n---\nseeds: 3\n",
    "\x00",
    "seeds: \x1b[31m",
    'seeds: "\\x1b[31m\\u202e"',
    '"\\x1b[31m\\u202e": 3',
    "\t\tseeds: 3",
    b"\xff\xfe\x00seeds",
    b"seeds: \xff",
    "seeds: 3".encode("utf-16"),
    "seeds: 3".encode("utf-32"),
    "x" * 2_000_000,
    "x: " + "y" * 1_000_000,
    "#" * 20_000_000,
    "data: /etc/passwd",
    "data: [1]",
    "model: /etc/passwd:root",
    "task: {model: 'none.py:x', weights: /etc/passwd}",
    "preset: <script>",
    "",
    "null",
    "{}",
)


def _prove(arena: Arena, *words: str) -> Act:
    return ["prove", str(arena.bases.data), "--out", str(arena.out), "--dry-run", *words]


def _train(arena: Arena, *words: str) -> Act:
    return ["train", str(arena.bases.data), "--out", str(arena.out), *words]


def _file(arena: Arena, content: str | bytes) -> str:
    path = arena.inside / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@attack("configurations")
def texts(arena: Arena) -> Act:
    given = _file(arena, arena.pick(_TEXTS))
    verb = _train if arena.rng.random() < 0.25 else _prove
    return verb(arena, "--config", given)


@attack("configurations")
def damaged_config(arena: Arena) -> Act:
    raw = yaml.safe_dump(arena.bases.plan, sort_keys=False).encode()
    return _prove(arena, "--config", _file(arena, damaged(raw, arena.rng)))


def _spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [s for k, v in value.items() for s in ((*path, k), *_spots(v, (*path, k)))]
    if isinstance(value, list):
        return [s for i, v in enumerate(value) for s in ((*path, i), *_spots(v, (*path, i)))]
    return []


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return plain data with one place replaced."""
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {k: replaced(v, tuple(rest), new) if k == key else v for k, v in value.items()}
    return [replaced(v, tuple(rest), new) if i == key else v for i, v in enumerate(value)]


def anywhere(value: Any, arena: Arena) -> Any:
    """Return plain data with one random place replaced by a value of a wrong type or range."""
    return replaced(value, arena.rng.choice(_spots(value)), arena.pick((*NUMBERS, *NAMES[:12])))


@attack("configurations")
def odd_value(arena: Arena) -> Act:
    text = yaml.safe_dump(anywhere(arena.bases.plan, arena), sort_keys=False, allow_unicode=True)
    return _prove(arena, "--config", _file(arena, text))


@attack("configurations")
def odd_value_of_training(arena: Arena) -> Act:
    text = yaml.safe_dump(anywhere(arena.bases.training_plan, arena), sort_keys=False)
    return _train(arena, "--config", _file(arena, text))


@attack("configurations")
def odd_file(arena: Arena) -> Act:
    names = ("/dev/zero", "/dev/null", "/", "/proc/self/mem", "/etc/passwd", "none", "x" * 300)
    if arena.turn % 3 == 0:
        return _prove(arena, "--config", _file(arena, arena.pickle()))
    return _prove(arena, "--config", arena.pick(names))


# assignments --------------------------------------------------------------------------------------

_KEYS = (
    *("seeds", "delta", "arms", "ratio", "size", "data", "preset", "minted_per_class", "policy"),
    *("task", "task.steps", "task.batch", "task.network", "task.network.channels", "task.model"),
    *("task.weights", "generator", "generator.steps", "generator.batch", "generator.latent_dim"),
    *("generator.generator", "generator.generator.channels", "generator.critic.channels"),
    *("generator.conditioning", "generator.objective", "generator.penalties", "curation.threshold"),
    *("policy.candidates", "policy.folds", "curation.max_draws", "task.aspect", "generator.rate"),
)
_ODD_KEYS = (
    *(
        "",
        ".",
        "..",
        "a..b",
        ".seeds",
        "seeds.",
        "__class__",
        "__init__.x",
        "seeds.x.y",
        "0",
        "\x1b[31m",
    ),
    *("a." * 3000 + "b", "task.network.name.x", "{{x}}", "=", "x" * 5000, "arms.0", "policy.-1"),
)


@attack("assignments")
def values(arena: Arena) -> Act:
    value = arena.pick((*map(str, NUMBERS), *NAMES))
    words = ["--set", f"{arena.rng.choice(_KEYS)}={value}"]
    return _train(arena, *words) if arena.rng.random() < 0.3 else _prove(arena, *words)


@attack("assignments")
def numbers(arena: Arena) -> Act:
    values = ("-1", "0", "1", "1000000000", "99999999999999999999", "1e9", "-0.0", "1e-320", ".inf")
    return _prove(arena, "--set", f"{arena.rng.choice(_KEYS)}={arena.pick(values)}")


@attack("assignments")
def yaml_values(arena: Arena) -> Act:
    texts = [t for t in _TEXTS if isinstance(t, str) and len(t) < 200_000]
    value = arena.pick(texts).partition(": ")[2] or arena.pick(texts)
    return _prove(arena, "--set", f"{arena.rng.choice(_KEYS)}={value}")


@attack("assignments")
def keys(arena: Arena) -> Act:
    return _prove(arena, "--set", f"{arena.pick(_ODD_KEYS)}=1")


# other words --------------------------------------------------------------------------------------


@attack("words")
def numeric_options(arena: Arena) -> Act:
    option = arena.rng.choice(
        ("--seeds", "--delta", "--per-class", "--workers", "--size", "--steps", "--seed")
    )
    value = arena.pick(
        (
            "-1",
            "0",
            "nan",
            "inf",
            "1e9",
            "99999999999999999999",
            "",
            "\x1b[31m",
            "²",
            "१२",
            "0x10",
            "1_000",
            " 3",
            "3x",
            "x3",
            "9999999",
            "1x1",
            "4x4x4",
        )
    )
    verb = _train if option in ("--steps", "--seed") else _prove
    return verb(arena, f"{option}={value}")


@attack("words")
def names_as_words(arena: Arena) -> Act:
    name = arena.pick(NAMES)
    match arena.rng.randrange(8):
        case 0:
            return [name]
        case 1:
            return ["check", name]
        case 2:
            return _prove(arena, "--" + name)
        case 3:
            return ["list", name]
        case 4:
            return ["run", name, "--out", str(arena.out)]
        case 5:
            return _prove(arena, f"--preset={name}")
        case 6:
            return ["mint", str(arena.bases.bundle), "--out", str(arena.out), f"--quota={name}=3"]
        case _:
            return ["report", name]


@attack("words")
def outs(arena: Arena) -> Act:
    folder = arena.out
    folder.mkdir()
    (folder / "file").write_text("x")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "gone").symlink_to("/nowhere/at/all")
    os.mkfifo(folder / "pipe")
    places = ("file", "file/x", "loop", "gone", "pipe", "pipe/x", "x" * 300, *NAMES)
    out = f"{folder}/{arena.pick(places)}"
    bases = arena.bases
    return arena.rng.choice(
        (
            ["prove", str(bases.data), "--out", out],
            ["train", str(bases.data), "--out", out],
            ["mint", str(bases.bundle), "--out", out, "--per-class", "2"],
            ["evaluate", str(bases.data), str(bases.data), "--steps", "1", "--out", out],
            ["run", "vac-mnist", "--debug", "--out", out],
        )
    )


@attack("words")
def models(arena: Arena) -> Act:
    path = arena.inside / "net.py"
    texts = (
        b"",
        b"\0",
        b"\xff\xfe",
        b"def make_net(:\n",
        b"raise SystemExit(0)\n",
        b"raise KeyError('x')\n",
        b"import nowhere_at_all\n",
        b"def make_net(outputs):\n    raise RecursionError('\x1b[31m')\n",
        b"make_net = 3\n",
        b"def make_net(*a, **k):\n    return None\n",
        b"x = " + b"(" * 5000,
    )
    path.write_bytes(arena.pick(texts) if arena.turn % 4 else arena.pickle())
    name = arena.rng.choice(("make_net", "", "__builtins__", "make_net.x", "\x1b[31m", "0"))
    if name and arena.rng.random() < 0.6:
        name = "make_net"
    return _prove(arena, f"--model={path}:{name}")


@attack("words")
def weights(arena: Arena) -> Act:
    net = arena.inside / "net.py"
    net.write_text(
        "from torch import nn\n"
        "def make_net(outputs):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))\n"
    )
    suffix = arena.pick(("safetensors", "pt", "pth", "bin", "npz", "pkl", "ckpt"))
    path = arena.inside / f"w.{suffix}"
    sound = Path(arena.bases.bundle / "generator.safetensors").read_bytes()
    path.write_bytes(arena.rng.choice((arena.pickle(), damaged(sound, arena.rng), sound, b"")))
    return _prove(arena, "--model", f"{net}:make_net", "--weights", str(path))
