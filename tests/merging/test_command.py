"""`augmint merge` and `augmint.merge`: files, errors in one line, use by `prove`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import augmint
from augmint.cli import main
from augmint.core.errors import IncompatibleError, UsageError
from augmint.merging.build import load
from augmint.tasks.user_model import load_user_network

HEAD = "from torch import nn\n"
A = HEAD + (
    "def make_net():\n"
    "    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),"
    " nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 14 * 14, 10))\n"
)
B = A.replace("Conv2d(1, 16, 3, padding=1)", "Conv2d(1, 16, 5, padding=2)")


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[str]]:
    def write(*contents: str) -> list[str]:
        names = []
        for name, text in zip("abcd", contents, strict=False):
            (tmp_path / f"{name}.py").write_text(text)
            names.append(f"{tmp_path / name}.py:make_net")
        return names

    return write


def test_command_writes_everything(
    files: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "merged"
    words = ["merge", *files(A, B), "--budget", "1.0x", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "input 1x28x28 (found by trying; --shape says otherwise)" in said
    assert {p.name for p in out.iterdir()} == {
        "merge.json", "network.json", "network.py", "1-parents.svg", "2-parallel.svg",
        "3-forward.svg", "4-backward.svg", "5-merged.svg",
    }  # fmt: skip
    report = json.loads((out / "merge.json").read_text())
    assert report["nodes"] == {"parallel": 4, "forward": 3, "backward": 3}
    assert report["budget"]["within_1_percent"]
    module = load(out / "network.json")
    assert sum(p.numel() for p in module.parameters()) == report["merged"]["parameters"]
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert main(words) == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_the_merged_network_is_a_model_for_prove(
    files: Callable[..., list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "merged"
    assert (
        main(["merge", *files(A, B), "--out", str(out), "--inherit", "--set", "pooling=node"]) == 0
    )
    script, weights = f"{out / 'network.py'}:make_net", out / "network.safetensors"
    network = load_user_network(script, (1, 28, 28), 10, weights)
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    with pytest.raises(UsageError, match=r"shape \(2, 7\)"):
        load_user_network(script, (1, 28, 28), 7)


def test_merged_networks_merge_again(files: Callable[..., list[str]], tmp_path: Path) -> None:
    out = tmp_path / "merged"
    names = files(A, B)
    assert main(["merge", *names, "--out", str(out)]) == 0
    again = [f"{out / 'network.py'}:make_net", names[0]]
    assert main(["merge", *again, "--shape", "1x28x28", "--out", str(tmp_path / "again")]) == 0


WRONG: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "one network": ((A,), (), ("at least two networks", "got 1")),
    "a layer that cannot be read": (
        (A, A.replace("nn.Flatten()", "nn.PixelShuffle(2), nn.Flatten()")),
        (), ("b ", "layer 5 (PixelShuffle)", "supported"),
    ),
    "other outputs": ((A, B.replace("14, 10)", "14, 7)")), (), ("a (10,), b (7,)", "--outputs")),
    "other inputs": (
        (A, B.replace("Conv2d(1,", "Conv2d(3,")), ("--shape", "1x28x28"),
        ("layer '0' (conv) of b takes 3 channels", "(1, 28, 28)", "--shape"),
    ),
    "a shape that does not fit": (
        (A, B), ("--shape", "1x30x30"), ("layer '6' (dense) of a takes 3136", "(3600,)", "--shape")
    ),
    "no shape that fits": (
        (A, B.replace("14 * 14", "3")), (), ("fit no square image", "layer '6'", "--shape CxHxW"),
    ),
    "an impossible budget": (
        (A, B), ("--budget", "50"), ("at least", "a budget of 50", "--budget"),
    ),
    "no budget": ((A, B), ("--budget", "much"), ("a budget is", "got much", "--budget 1.0x")),
    "no shape": ((A, B), ("--shape", "big"), ("a shape is CxHxW", "got big", "--shape 3x32x32")),
    "no such function": (
        (A, HEAD + "def make():\n    return 1\n"), (), ("b.py", "make_net", "did you mean 'make'"),
    ),
    "no network": (
        (A, HEAD + "def make_net():\n    return 1\n"), (), ("b.py", "torch.nn.Module", "int"),
    ),
    "an error in the file": (
        (A, HEAD + "def make_net():\n    return 1 / 0\n"), (),
        ("b.py, line 3", "ZeroDivisionError"),
    ),
    "an argument that is not known": (
        (A, B.replace("make_net()", "make_net(outputs)")), (), ("got outputs", "--outputs 10")
    ),
    "a shape that is not known": (
        (A, B.replace("make_net()", "make_net(channels)")), (), ("got channels", "--shape 3x32x32")
    ),
    "a rule that is none": (
        (A, B), ("--set", "poling=node"), ("rules has no field", "poling", "pooling"),
    ),
    "the published rule": (
        (A, A.replace("nn.Flatten()", "nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten()")),
        ("--set", "guard=false"), ("has no cycle", "→", "guard=True"),
    ),
    "branches on values": (
        (A, HEAD + "class N(nn.Module):\n    def forward(self, x):\n"
         "        return x if x.sum() > 0 else -x\n"
         "def make_net():\n    return nn.Sequential(nn.Conv2d(1, 1, 1), N())\n"),
        (), ("forward of b must be traceable", "without conditions"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_uses_are_one_line(
    name: str,
    files: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    contents, options, expected = WRONG[name]
    assert main(["merge", *files(*contents), "--out", str(tmp_path / "o"), *options]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("augmint:")]
    for part in expected:
        assert part in line, line
    assert not (tmp_path / "o").exists()


def test_a_folder_with_other_files_is_left_alone(
    files: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "mine.txt").write_text("x")
    assert main(["merge", *files(A, B), "--out", str(tmp_path / "o")]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["mine.txt"]


def test_python_interface_takes_modules() -> None:
    def network(kernel: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 8, kernel, padding="same"), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(8, 3),
        )  # fmt: skip

    parents = [network(3), network(5), network(3)]
    merged = augmint.merge(parents, budget=None, shape=(1, 12, 12), settings={"to_fixpoint": True})
    assert [p["name"] for p in merged.report["parents"]] == [f"Sequential-{i}" for i in (1, 2, 3)]
    assert merged.report["nodes"]["parallel"] == 3
    assert merged.report["nodes"]["backward"] == 2
    assert merged.network(torch.zeros(2, 1, 12, 12)).shape == (2, 3)
    with pytest.raises(IncompatibleError):
        augmint.merge([network(3), nn.Sequential(*network(3), nn.Linear(3, 4))], shape=(1, 12, 12))


def test_same_seed_same_weights_and_no_trace_in_the_global_generator() -> None:
    a, b = (nn.Sequential(nn.Conv2d(1, 4, k), nn.Flatten(), nn.LazyLinear(3)) for k in (1, 1))
    for net in (a, b):
        net(torch.zeros(1, 1, 4, 4))
    torch.manual_seed(0)
    one = augmint.merge([a, b], budget=None, shape=(1, 4, 4))
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))
    two = augmint.merge([b, a], budget=None, shape=(1, 4, 4))
    for p, q in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(p, q)
