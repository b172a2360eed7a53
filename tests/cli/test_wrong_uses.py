"""Sixty wrong uses: each ends in one line with rule, value and remedy, and the stated exit code."""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augmint.cli import main
from augmint.core.runs import EventLog

Make = Callable[[Path], list[str]]
CASES: dict[str, tuple[int, Make]] = {}


def case(code: int = 2) -> Callable[[Make], Make]:
    """Register a wrong use that must end with this exit code."""

    def add(make: Make) -> Make:
        CASES[make.__name__] = (code, make)
        return make

    return add


def prove(*words: str | Path, out: str | Path) -> list[str]:
    return ["prove", *map(str, words), "--out", str(out)]


def images(folder: Path, classes: tuple[str, ...] = ("a", "b"), n: int = 12, side: int = 8) -> Path:
    """Write a small, sound image folder."""
    rng = np.random.default_rng(0)
    for c in classes:
        (folder / c).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = rng.integers(0, 255, (side, side), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / c / f"{i}.png")
    return folder


# words and options -------------------------------------------------------------------------------


@case()
def unknown_verb(tmp: Path) -> list[str]:
    return ["prov", "digits"]


@case()
def option_before_verb(tmp: Path) -> list[str]:
    return ["--out", "x", "prove"]


@case()
def no_data(tmp: Path) -> list[str]:
    return ["prove", "--out", str(tmp)]


@case()
def no_out(tmp: Path) -> list[str]:
    return ["prove", "digits"]


@case()
def two_data(tmp: Path) -> list[str]:
    return prove("digits", "toy", out=tmp)


@case()
def misspelt_option(tmp: Path) -> list[str]:
    return prove("digits", "--sedes", "3", out=tmp)


@case()
def abbreviated_option(tmp: Path) -> list[str]:
    return prove("digits", "--seed", "3", out=tmp)


@case()
def unknown_preset(tmp: Path) -> list[str]:
    return prove("digits", "--preset", "fast", out=tmp)


@case()
def seeds_not_a_number(tmp: Path) -> list[str]:
    return prove("digits", "--seeds", "three", out=tmp)


@case()
def one_seed(tmp: Path) -> list[str]:
    return prove("digits", "--seeds", "1", out=tmp)


@case()
def negative_per_class(tmp: Path) -> list[str]:
    return prove("digits", "--per-class", "-3", out=tmp)


@case()
def too_many_per_class(tmp: Path) -> list[str]:
    return prove("digits", "--per-class", "5000", out=tmp)


@case()
def delta_zero(tmp: Path) -> list[str]:
    return prove("digits", "--delta", "0", out=tmp)


@case()
def delta_not_a_number(tmp: Path) -> list[str]:
    return prove("digits", "--delta", "nan", out=tmp)


@case()
def size_words(tmp: Path) -> list[str]:
    return prove("digits", "--size", "big", out=tmp)


@case()
def size_out_of_reach(tmp: Path) -> list[str]:
    return prove("digits", "--size", "17", out=tmp)


@case()
def zero_workers(tmp: Path) -> list[str]:
    return prove("digits", "--workers", "-1", out=tmp)


@case()
def unknown_backend(tmp: Path) -> list[str]:
    return prove("digits", "--backend", "slurm", out=tmp)


@case()
def address_without_cluster(tmp: Path) -> list[str]:
    return prove("digits", "--address", "localhost:1", out=tmp)


@case()
def unknown_device(tmp: Path) -> list[str]:
    return prove("digits", "--device", "tpu", out=tmp)


@case()
def set_without_value(tmp: Path) -> list[str]:
    return prove("digits", "--set", "task.steps", out=tmp)


@case()
def set_unknown_key(tmp: Path) -> list[str]:
    return prove("digits", "--set", "task.step=5", out=tmp)


@case()
def set_wrong_type(tmp: Path) -> list[str]:
    return prove("digits", "--set", "task.steps=many", out=tmp)


@case()
def set_bad_yaml(tmp: Path) -> list[str]:
    return prove("digits", "--set", "task.steps=[1,", out=tmp)


@case()
def set_unknown_objective(tmp: Path) -> list[str]:
    return prove("digits", "--set", "generator.objective=hing", out=tmp)


@case()
def set_unknown_field_of_variant(tmp: Path) -> list[str]:
    return prove("digits", "--set", "generator.generator.chanels=3", out=tmp)


@case()
def set_unknown_arm(tmp: Path) -> list[str]:
    return prove("digits", "--set", "arms=[classic, minted, magic]", out=tmp)


@case()
def set_without_baseline(tmp: Path) -> list[str]:
    return prove("digits", "--set", "arms=[minted]", out=tmp)


@case()
def policies_without_none(tmp: Path) -> list[str]:
    return prove("digits", "--set", "policy.candidates=[affine]", out=tmp)


@case()
def critic_as_generator(tmp: Path) -> list[str]:
    return prove("digits", "--set", "generator.generator=dcgan-critic", out=tmp)


@case()
def penalty_beside_batch_norm(tmp: Path) -> list[str]:
    return prove(
        "digits",
        "--set",
        "generator.critic={name: dcgan-critic, normalisation: batch}",
        "--set",
        "generator.penalties=[gradient-penalty]",
        out=tmp,
    )


@case()
def ratio_of_one(tmp: Path) -> list[str]:
    return prove("digits", "--set", "ratio=1.0", out=tmp)


# configuration files ------------------------------------------------------------------------------


@case()
def config_missing(tmp: Path) -> list[str]:
    return prove("digits", "--config", tmp / "none.yaml", out=tmp / "o")


@case()
def config_not_yaml(tmp: Path) -> list[str]:
    (tmp / "c.yaml").write_text("a: [1,\nb: }")
    return prove("digits", "--config", tmp / "c.yaml", out=tmp / "o")


@case()
def config_a_list(tmp: Path) -> list[str]:
    (tmp / "c.yaml").write_text("- 1\n- 2\n")
    return prove("digits", "--config", tmp / "c.yaml", out=tmp / "o")


@case()
def config_python_tag(tmp: Path) -> list[str]:
    (tmp / "c.yaml").write_text("seeds: !!python/object/apply:os.system ['true']\n")
    return prove("digits", "--config", tmp / "c.yaml", out=tmp / "o")


@case()
def folder_of_another_study(tmp: Path) -> list[str]:
    out = tmp / "o"
    out.mkdir()
    (out / "config.yaml").write_text("data: other\nseeds: 3\n")
    EventLog(out / "looks.jsonl").write("opened", seeds=[0, 1, 2])
    return prove("digits", out=out)


# data ---------------------------------------------------------------------------------------------


@case()
def data_missing(tmp: Path) -> list[str]:
    return prove(tmp / "nowhere", out=tmp / "o")


@case()
def data_misspelt_built_in(tmp: Path) -> list[str]:
    return prove("digit", out=tmp / "o")


@case()
def data_empty(tmp: Path) -> list[str]:
    (tmp / "d").mkdir()
    return prove(tmp / "d", out=tmp / "o")


@case()
def data_one_class(tmp: Path) -> list[str]:
    return prove(images(tmp / "d", ("a",)), out=tmp / "o")


@case()
def data_a_text_file(tmp: Path) -> list[str]:
    (tmp / "d.txt").write_text("hello")
    return prove(tmp / "d.txt", out=tmp / "o")


@case()
def data_not_a_zip(tmp: Path) -> list[str]:
    (tmp / "d.zip").write_bytes(b"PK\x03\x04 not really")
    return prove(tmp / "d.zip", out=tmp / "o")


@case()
def data_zip_climbs_out(tmp: Path) -> list[str]:
    with zipfile.ZipFile(tmp / "d.zip", "w") as archive:
        archive.writestr("../../a/1.png", b"x")
        archive.writestr("b/1.png", b"x")
    return prove(tmp / "d.zip", out=tmp / "o")


@case()
def data_zip_bomb(tmp: Path) -> list[str]:
    with zipfile.ZipFile(tmp / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for c in "ab":
            archive.writestr(f"{c}/1.png", b"\0" * 50_000_000)
    return prove(tmp / "d.zip", out=tmp / "o")


@case(3)
def data_all_broken(tmp: Path) -> list[str]:
    for c in "ab":
        (tmp / "d" / c).mkdir(parents=True)
        (tmp / "d" / c / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return prove(tmp / "d", out=tmp / "o")


@case()
def data_two_sizes(tmp: Path) -> list[str]:
    images(tmp / "d")
    Image.new("L", (9, 9)).save(tmp / "d" / "a" / "odd.png")
    return prove(tmp / "d", out=tmp / "o")


@case()
def data_mixed_depth(tmp: Path) -> list[str]:
    images(tmp / "d")
    images(tmp / "d" / "train")
    return prove(tmp / "d", out=tmp / "o")


@case()
def data_link_outside(tmp: Path) -> list[str]:
    images(tmp / "d")
    (tmp / "secret.png").write_bytes(b"x")
    (tmp / "d" / "a" / "link.png").symlink_to(tmp / "secret.png")
    return prove(tmp / "d", out=tmp / "o")


@case()
def data_truncated_idx(tmp: Path) -> list[str]:
    (tmp / "d").mkdir()
    header = struct.pack(">IIII", 2051, 100, 8, 8)
    (tmp / "d" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + b"\0" * 99))
    labels = struct.pack(">II", 2049, 100) + bytes(100)
    (tmp / "d" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return prove(tmp / "d", out=tmp / "o")


@case()
def data_manifest_not_json(tmp: Path) -> list[str]:
    images(tmp / "d")
    (tmp / "d" / "metadata.jsonl").write_text('{"file_name": "a/0.png", "label": \n')
    return prove(tmp / "d", out=tmp / "o")


@case()
def data_manifest_climbs_out(tmp: Path) -> list[str]:
    images(tmp / "d")
    rows = [{"file_name": "../../etc/passwd", "label": "a"}, {"file_name": "b/0.png", "label": "b"}]
    (tmp / "d" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return prove(tmp / "d", out=tmp / "o")


@case()
def too_few_images(tmp: Path) -> list[str]:
    return prove(images(tmp / "d", n=2), out=tmp / "o")


@case(3)
def leak_between_splits(tmp: Path) -> list[str]:
    for part in ("train", "test"):
        images(tmp / "d" / part)
    return prove(tmp / "d", out=tmp / "o")


@case(3)
def check_finds_the_leak(tmp: Path) -> list[str]:
    for part in ("train", "test"):
        images(tmp / "d" / part)
    return ["check", str(tmp / "d")]


@case()
def out_is_a_file(tmp: Path) -> list[str]:
    (tmp / "o").write_text("x")
    return prove("digits", out=tmp / "o")


# the user's model ---------------------------------------------------------------------------------


def model(tmp: Path, text: str, name: str = "make_net") -> list[str]:
    (tmp / "m.py").write_text(text)
    return prove("digits", "--model", f"{tmp / 'm.py'}:{name}", out=tmp / "o")


@case()
def model_missing(tmp: Path) -> list[str]:
    return prove("digits", "--model", f"{tmp / 'none.py'}:make_net", out=tmp / "o")


@case()
def model_without_function(tmp: Path) -> list[str]:
    return prove("digits", "--model", str(tmp / "m.py"), out=tmp / "o")


@case()
def model_other_function(tmp: Path) -> list[str]:
    return model(tmp, "def make_network(outputs):\n    return None\n")


@case()
def model_syntax_error(tmp: Path) -> list[str]:
    return model(tmp, "def make_net(outputs:\n    return 1\n")


@case()
def model_raises(tmp: Path) -> list[str]:
    return model(tmp, "def make_net(outputs):\n    return 1 / 0\n")


@case()
def model_no_module(tmp: Path) -> list[str]:
    return model(tmp, "def make_net(outputs):\n    return 'net'\n")


@case()
def model_wrong_outputs(tmp: Path) -> list[str]:
    text = "from torch import nn\ndef make_net(outputs, channels, height, width):\n"
    return model(tmp, text + "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n")


@case()
def weights_are_a_pickle(tmp: Path) -> list[str]:
    (tmp / "w.pt").write_bytes(b"\x80\x04.")
    text = "from torch import nn\ndef make_net(outputs):\n"
    words = model(tmp, text + "    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))\n")
    return [*words, "--weights", str(tmp / "w.pt")]


@case()
def weights_without_model(tmp: Path) -> list[str]:
    return prove("digits", "--weights", tmp / "w.safetensors", out=tmp / "o")


# other verbs --------------------------------------------------------------------------------------


@case()
def mint_from_nothing(tmp: Path) -> list[str]:
    return ["mint", str(tmp / "bundle"), "--out", str(tmp / "o")]


@case()
def mint_from_a_broken_bundle(tmp: Path) -> list[str]:
    (tmp / "bundle").mkdir()
    (tmp / "bundle" / "bundle.json").write_text('{"version": 1, "format": "augmint-bundle"')
    return ["mint", str(tmp / "bundle"), "--out", str(tmp / "o")]


@case()
def mint_with_a_bad_quota(tmp: Path) -> list[str]:
    return ["mint", str(tmp / "bundle"), "--out", str(tmp / "o"), "--quota", "seven"]


@case()
def evaluate_missing(tmp: Path) -> list[str]:
    return ["evaluate", "digits", str(tmp / "minted")]


@case()
def train_negative_steps(tmp: Path) -> list[str]:
    return ["train", "digits", "--steps", "-5", "--out", str(tmp / "o")]


@case()
def unknown_recipe(tmp: Path) -> list[str]:
    return ["run", "vac-mnits", "--debug", "--out", str(tmp / "o")]


@case()
def unknown_variant(tmp: Path) -> list[str]:
    return ["run", "vac-mnist", "--variant", "best", "--out", str(tmp / "o")]


@case()
def report_of_nothing(tmp: Path) -> list[str]:
    return ["report", str(tmp)]


@case()
def unknown_axis(tmp: Path) -> list[str]:
    return ["list", "objective"]


def test_there_are_sixty() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_the_exit_code(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, make = CASES[name]
    code = main(make(tmp_path))
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("augmint:")]
    assert code == expected, captured
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    # rule; got value: remedy
    rule, _, rest = lines[0].partition("; got ")
    assert len(rule) > len("augmint: x"), lines
    value, _, remedy = rest.partition(": ")
    assert value, lines
    assert remedy, lines


@pytest.mark.parametrize("value", [10**11, 10**18, 10**23])
@pytest.mark.parametrize("name", ["latent_dim", "batch", "generator.channels"])
def test_sizes_beyond_any_memory_are_refused_in_one_line(
    name: str, value: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = f"generator.{name}={value}"
    asked = ["train", "digits", "--out", str(tmp_path / "a"), "--device", "cpu", "--set", size]
    assert main(asked) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("augmint: ")
    assert "fit into memory" in told or "at most" in told
