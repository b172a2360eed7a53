"""Everything that can be wrong in a user's file is one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from augmint.core.errors import UsageError
from augmint.tasks.user_model import load_user_network

GOOD = """\
import torch.nn as nn

def make_net(num_classes, channels, size, width=8):
    side = size if isinstance(size, int) else size[0]
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, num_classes))
"""


def write(folder: Path, text: str) -> str:
    (folder / "net.py").write_text(text)
    return f"{folder / 'net.py'}:make_net"


def test_good_file(tmp_path: Path) -> None:
    network = load_user_network(write(tmp_path, GOOD), (3, 8, 8), 5)
    assert network(torch.zeros(4, 3, 8, 8)).shape == (4, 5)
    assert network.training


def test_neighbours_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "my_layers_of_this_test.py").write_text("WIDTH = 64\n")
    text = "import torch.nn as nn\nfrom my_layers_of_this_test import WIDTH\n"
    text += "def make_net(outputs): return nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, outputs))\n"
    load_user_network(write(tmp_path, text), (1, 8, 8), 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def make_net(:\n", ["net.py, line 1", "SyntaxError"]),
        ("\n\nimport no_such_module_anywhere\n", ["net.py, line 3", "ModuleNotFoundError"]),
        ("def make_net():\n    return 1 / 0\n", ["net.py, line 2", "ZeroDivisionError"]),
        ("def make_nett():\n    return 1\n", ["must define", "did you mean 'make_nett'"]),
        ("def make_net():\n    return 7\n", ["torch.nn.Module", "int"]),
        ("def make_net(clases):\n    return 7\n", ["clases", "did you mean 'classes'"]),
        ("import sys\nsys.exit(3)\n", ["net.py, line 2", "SystemExit"]),
        (GOOD.replace("* side", "* 3", 1), ["net.py", "(2, 3, 8, 8)", "RuntimeError"]),
        (GOOD.replace("num_classes))", "7))"), ["(2, 5)", "(2, 7)"]),
        (
            "import torch\nclass N(torch.nn.Module):\n    def forward(self, x):\n"
            "        return x.no_such()\ndef make_net():\n    return N()\n",
            ["net.py, line 4", "AttributeError"],
        ),
        (
            "import torch\nclass N(torch.nn.Module):\n    def forward(self, x):\n"
            "        return [x]\ndef make_net():\n    return N()\n",
            ["must give a tensor", "list"],
        ),
    ],
)
def test_bad_files(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load_user_network(write(tmp_path, text), (3, 8, 8), 5)
    line = str(caught.value)
    assert "\n" not in line
    assert all(w in line for w in words), line


def test_bad_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"file\.py:function"):
        load_user_network("net.py", (1, 8, 8), 2)
    with pytest.raises(UsageError, match="must exist"):
        load_user_network(str(tmp_path / "none.py:make_net"), (1, 8, 8), 2)


def test_weights(tmp_path: Path) -> None:
    model = write(tmp_path, GOOD)
    state = load_user_network(model, (1, 4, 4), 2).state_dict()
    good = tmp_path / "w.safetensors"
    wanted = {k: torch.full_like(v, 0.5) for k, v in state.items()}
    save_file(wanted, good)
    network = load_user_network(model, (1, 4, 4), 2, good)
    assert all((p == 0.5).all() for p in network.parameters())
    save_file({"1.weight": wanted["1.weight"], "extra": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match=r"missing 1\.bias, unexpected extra"):
        load_user_network(model, (1, 4, 4), 2, tmp_path / "x.safetensors")
    save_file({**wanted, "1.bias": torch.zeros(3)}, tmp_path / "y.safetensors")
    with pytest.raises(UsageError, match=r"1\.bias is \(3,\), the network's \(2,\)"):
        load_user_network(model, (1, 4, 4), 2, tmp_path / "y.safetensors")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UsageError, match="pickle is never read"):
        load_user_network(model, (1, 4, 4), 2, tmp_path / "w.pt")
    (tmp_path / "z.safetensors").write_bytes(b"broken")
    with pytest.raises(UsageError, match="readable safetensors"):
        load_user_network(model, (1, 4, 4), 2, tmp_path / "z.safetensors")
