"""Attacks on what augmint itself wrote: bundles, checkpoints, studies, stages, reports, mints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from arena import DEEP, NAMES, NUMBERS, SOUND, Act, Arena, attack, damaged, image_folder, png
from attacks_texts import anywhere
from report_examples import fake_pictures, fake_report


def _safetensors(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def _tensor_files(arena: Arena, sound: bytes) -> bytes:
    """A safetensors file with one thing wrong."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    contents = (
        damaged(sound, arena.rng),
        arena.pickle(),
        b"",
        _safetensors({}, length=2**63),
        _safetensors({}, length=2**64 - 1),
        _safetensors({"a": {**entry, "shape": [2**40]}}, bytes(8)),
        _safetensors({"a": {**entry, "shape": [2**32, 2**32]}}, bytes(8)),
        _safetensors({"a": {**entry, "shape": [-2]}}, bytes(8)),
        _safetensors({"a": {**entry, "data_offsets": [0, 2**50]}}, bytes(8)),
        _safetensors({"a": {**entry, "data_offsets": [8, 0]}}, bytes(8)),
        _safetensors({"a": entry, "b": entry}, bytes(8)),
        _safetensors({"a": {**entry, "dtype": "PICKLE"}}, bytes(8)),
        _safetensors({"a": {**entry, "dtype": "F8_E5M2", "shape": [8]}}, bytes(8)),
        _safetensors(b"[" * DEEP),
        _safetensors(b'{"__metadata__": {"augmint": ' + b'"' + b"[" * 5000 + b'"}}'),
        _safetensors({"__metadata__": {"augmint": "not json"}}),
        _safetensors({"__metadata__": {"augmint": "[1]"}, "a": entry}, bytes(8)),
        _safetensors({"__metadata__": [1]}),
        _safetensors({"__metadata__": {"augmint": "[" * 5000}}),
        _safetensors({"../../x": entry}, bytes(8)),
        _safetensors({"\x1b[31m\u202e": entry}, bytes(8)),
        _safetensors({"a": entry}, struct.pack("<2f", float("nan"), float("inf"))),
    )
    return arena.pick(contents)


# bundles ------------------------------------------------------------------------------------------


def _bundle(arena: Arena) -> Path:
    return Path(shutil.copytree(arena.bases.bundle, arena.inside / "bundle"))


def _mint(arena: Arena, folder: Path, *words: str) -> Act:
    given = words or ("--per-class", "2")
    return ["mint", str(folder), "--out", str(arena.out / "minted"), *given]


def _change(path: Path, change: Callable[[Any], Any]) -> None:
    text = json.dumps(change(json.loads(path.read_text())))
    path.write_text(text, encoding="utf-8")


def _signed(folder: Path, name: str, raw: bytes) -> None:
    """Put a tensor file into a bundle, with the check sum that the description then needs."""
    (folder / name).write_bytes(raw)
    found = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
    _change(folder / "bundle.json", lambda d: {**d, "files": {**d["files"], name: found}})


@attack("bundles")
def damaged_bundle_file(arena: Arena) -> Act:
    folder = _bundle(arena)
    path = arena.pick(sorted(folder.iterdir()))
    path.write_bytes(damaged(path.read_bytes(), arena.rng))
    return _mint(arena, folder)


@attack("bundles")
def odd_description(arena: Arena) -> Act:
    folder = _bundle(arena)
    _change(folder / "bundle.json", lambda d: anywhere(d, arena))
    return _mint(arena, folder)


@attack("bundles")
def description_texts(arena: Arena) -> Act:
    folder = _bundle(arena)
    texts = ("", "[", "[]", "null", "[" * DEEP, '{"version":' * DEEP, "NaN", "{}", "\0", "9" * 5000)
    if arena.turn % 3 == 0:
        (folder / "bundle.json").write_bytes(arena.pickle())
    else:
        (folder / "bundle.json").write_text(arena.pick(texts))
    return _mint(arena, folder)


@attack("bundles")
def signed_tensors(arena: Arena) -> Act:
    folder = _bundle(arena)
    name = arena.rng.choice(("generator", "judge", "features")) + ".safetensors"
    _signed(folder, name, _tensor_files(arena, (folder / name).read_bytes()))
    return _mint(arena, folder)


@attack("bundles")
def signed_numbers(arena: Arena) -> Act:
    """Whole tensor files whose numbers are not finite, huge, of another type or missing."""
    from safetensors.torch import load, save

    folder = _bundle(arena)
    name = arena.rng.choice(("generator", "judge", "features")) + ".safetensors"
    tensors = load((folder / name).read_bytes())
    key = arena.rng.choice(sorted(tensors))
    t = tensors[key]
    changes: tuple[Callable[[], Any], ...] = (
        lambda: torch.full_like(t, 3) * float("nan"),
        lambda: torch.full_like(t, 1) * float("inf"),
        lambda: torch.full_like(t.float(), 3e38),
        lambda: t.double(),
        lambda: t.to(torch.int64),
        lambda: t.half(),
        lambda: t.bool(),
        lambda: t[None],
        lambda: t.flatten()[:1].clone(),
        lambda: torch.zeros(0),
        lambda: t.to(torch.complex64),
        lambda: torch.zeros_like(t),
    )
    tensors[key] = arena.pick(changes)().contiguous()
    if arena.rng.random() < 0.1:
        del tensors[key]
    _signed(folder, name, save(tensors))
    return _mint(arena, folder)


@attack("bundles")
def class_names(arena: Arena) -> Act:
    folder = _bundle(arena)
    name = arena.pick((*NAMES, "../../x", "/etc/x", "a/b", "\0", "", "\ud800", "ant", "x" * 5000))
    aspect = "label" if arena.rng.random() < 0.8 else name

    def change(d: Any) -> Any:
        d["schema"][0]["classes"][1] = name
        d["schema"][0]["name"] = aspect
        d["curation"]["aspect"] = aspect
        return d

    _change(folder / "bundle.json", change)
    words = ("--quota", f"{name}=2") if arena.rng.random() < 0.3 and "\0" not in name else ()
    return _mint(arena, folder, *words)


@attack("bundles")
def bundle_links(arena: Arena) -> Act:
    folder = _bundle(arena)
    path = arena.pick(sorted(folder.iterdir()))
    raw = path.read_bytes()
    path.unlink()
    match arena.rng.randrange(4):
        case 0:
            path.symlink_to("/etc/passwd")
        case 1:
            (arena.place / "elsewhere").write_bytes(raw)
            path.symlink_to(arena.place / "elsewhere")
        case 2:
            os.mkfifo(path)
        case _:
            path.mkdir()
    return _mint(arena, folder)


@attack("bundles")
def more_files(arena: Arena) -> Act:
    folder = _bundle(arena)
    name = arena.pick(("../x.safetensors", "model.pkl", "/etc/passwd", "judge.pt", "x/../judge"))
    if not name.startswith(("/", "..", "x/")):
        (folder / name).write_bytes(arena.pickle())
    if arena.rng.random() < 0.6:
        found = {"sha256": "0" * 64, "bytes": 3}
        _change(folder / "bundle.json", lambda d: {**d, "files": {**d["files"], name: found}})
    return _mint(arena, folder)


@attack("bundles")
def quotas(arena: Arena) -> Act:
    values = (
        "=",
        "ant",
        "ant=",
        "ant=-1",
        "ant=x",
        "ant=²",
        "ant=" + "9" * 5000,
        "\x1b[31m=1",
        "=3",
    )
    return _mint(arena, _bundle(arena), f"--quota={arena.pick(values)}")


# checkpoints --------------------------------------------------------------------------------------


def _training(arena: Arena) -> Path:
    return Path(shutil.copytree(arena.bases.training, arena.out, symlinks=True))


def _resume(arena: Arena) -> Act:
    bases = arena.bases
    return ["train", str(bases.data), "--out", str(arena.out), *bases.training_words]


def _checkpoint(arena: Arena) -> Path:
    return next((_training(arena) / "run" / "checkpoints").glob("step-*.safetensors"))


def _named(path: Path, raw: bytes, step: int | None = None) -> None:
    """Write a checkpoint under the name that its content asks for."""
    number = path.name[5:15] if step is None else f"{step:010d}"
    name = f"step-{number}-{hashlib.sha256(raw).hexdigest()[:16]}.safetensors"
    path.unlink()
    (path.parent / name).write_bytes(raw)


@attack("checkpoints")
def damaged_checkpoint(arena: Arena) -> Act:
    path = _checkpoint(arena)
    path.write_bytes(damaged(path.read_bytes(), arena.rng))
    return _resume(arena)


@attack("checkpoints")
def signed_checkpoint(arena: Arena) -> Act:
    path = _checkpoint(arena)
    _named(path, _tensor_files(arena, path.read_bytes()))
    return _resume(arena)


@attack("checkpoints")
def odd_state(arena: Arena) -> Act:
    """A whole checkpoint whose JSON state has one value of a wrong type or range."""
    from safetensors.torch import load, save

    path = _checkpoint(arena)
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    packed = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["augmint"])
    state = anywhere(json.loads(packed["state"]), arena)
    if arena.turn % 7 == 0:
        state = arena.rng.choice(NUMBERS)
    packed = {**packed, "state": json.dumps(state)}
    _named(path, save(load(raw), metadata={"augmint": json.dumps(packed)}))
    return _resume(arena)


@attack("checkpoints")
def odd_tensors(arena: Arena) -> Act:
    from safetensors.torch import load, save

    path = _checkpoint(arena)
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    metadata = json.loads(raw[8 : 8 + size])["__metadata__"]
    tensors = load(raw)
    key = arena.rng.choice(sorted(tensors))
    t = tensors[key]
    changes: tuple[Callable[[], Any], ...] = (
        lambda: torch.full_like(t.float(), float("nan")),
        lambda: t[None],
        lambda: t.flatten()[:1].clone(),
        lambda: torch.zeros(0),
        lambda: t.double(),
        lambda: t.to(torch.int64),
    )
    tensors[key] = arena.pick(changes)().contiguous()
    if arena.rng.random() < 0.3:
        tensors[arena.rng.choice(("x", "a:b:c", "\x1b[31m:x", "generator:"))] = tensors.pop(key)
    _named(path, save(tensors, metadata=metadata))
    return _resume(arena)


@attack("checkpoints")
def steps(arena: Arena) -> Act:
    path = _checkpoint(arena)
    raw = path.read_bytes()
    _named(path, raw, arena.pick((0, 1, 10**9, 9_999_999_999)))
    return _resume(arena)


@attack("checkpoints")
def run_files(arena: Arena) -> Act:
    folder = _training(arena)
    spots = (
        "config.yaml",
        "run/events.jsonl",
        "run/metrics.jsonl",
        "run/checkpoints",
        ".lock",
        "bundle",
    )
    path = folder / arena.pick(spots)
    _replaced(arena, path)
    return _resume(arena)


def _replaced(arena: Arena, path: Path) -> None:
    """Put a link out of the folder, a pickle, a folder, a pipe or rubbish in place of a file."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    match arena.rng.randrange(6):
        case 0:
            target = arena.place / "victim"
            target.write_text("precious")
            path.symlink_to(target)
        case 1:
            path.write_bytes(arena.pickle())
        case 2:
            path.mkdir()
        case 3:
            path.write_text(arena.rng.choice(("[" * DEEP, "a: [", "[1]\n{}\n", "{", "null\n", "3")))
        case 4:
            path.symlink_to(path.name)
        case _:
            os.mkfifo(path)


# studies, stages, reports -------------------------------------------------------------------------


@attack("studies")
def configuration_of_a_study(arena: Arena) -> Act:
    import yaml

    arena.out.mkdir()
    plan = arena.bases.study_plan if arena.turn % 2 else anywhere(arena.bases.study_plan, arena)
    text = yaml.safe_dump(plan, sort_keys=False, allow_unicode=True)
    looks = ("", "[1]\n", "null\n", '{"seeds": 3}\n', '{"seeds": []}\n', '{"seeds": ["a"]}\n')
    more = (
        '{"seeds": [0, 1]}\n',
        '{"seeds": [-1, 1e30]}\n',
        "[" * DEEP,
        '{"seeds": [NaN]}\n',
        "{}\n",
    )
    (arena.out / "config.yaml").write_text(text, encoding="utf-8")
    (arena.out / "looks.jsonl").write_text(arena.pick((*looks, *more)))
    return ["prove", str(arena.bases.data), "--out", str(arena.out)]


@attack("studies")
def files_of_a_study(arena: Arena) -> Act:
    arena.out.mkdir()
    spots = ("config.yaml", "looks.jsonl", ".lock", "stages", "stages/tables", "report.json")
    _replaced(arena, arena.out / arena.pick(spots))
    return ["prove", str(arena.bases.data), "--out", str(arena.out)]


@attack("studies")
def folders_that_lead_out(arena: Arena) -> Act:
    """Folders of a study that are links to someone's home, where hidden things lie."""
    home = arena.place / "home"
    (home / ".secrets").mkdir(parents=True)
    (home / ".secrets" / "key").write_text("precious")
    (home / ".old.tmp").write_text("precious")
    arena.out.mkdir()
    name = arena.pick(("stages", "stages/tables", "minted", "bundle", "pictures"))
    (arena.out / name).parent.mkdir(exist_ok=True)
    (arena.out / name).symlink_to(home)
    return lambda: _swept(arena)


def _swept(arena: Arena) -> None:
    from augmint.core.runs import lock_folder, sweep

    with lock_folder(arena.out):
        sweep(arena.out, arena.out / "stages" / "tables", arena.out / "tables")


@attack("studies")
def tables(arena: Arena) -> Act:
    """A cached table that was altered."""
    arena.out.mkdir()
    (arena.out / "stages").mkdir()
    shutil.copytree(arena.bases.tables, arena.out / "stages" / "tables")
    table = next((arena.out / "stages" / "tables").glob("table-*"))
    path = arena.rng.choice([p for p in sorted(table.rglob("*")) if p.is_file()])
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (%s,), }"
    match arena.turn % 6:
        case 0:
            path.write_bytes(damaged(path.read_bytes(), arena.rng))
        case 1:
            path.write_bytes(arena.pickle())
        case 2:
            _replaced(arena, path)
        case 3:
            (table / "values" / "label.npy").write_bytes(
                (header % str(2 ** arena.rng.choice((40, 62, 70))).encode()).ljust(127) + b"\n"
            )
        case 4:
            (table / "values" / "label.npy").write_bytes(
                header.replace(b"<i8", b"|O ") % b"3" + b" " * 40 + b"\n" + arena.pickle()
            )
        case _:
            _change(table / "table.json", lambda d: anywhere(d, arena))
    return ["prove", str(arena.bases.data), "--out", str(arena.out)]


@attack("stages")
def altered_stage(arena: Arena) -> Act:
    """A stage's folder that was altered is made again, or its damage is said."""
    from stage_functions import seen

    from augmint.core.config import fingerprint
    from augmint.studies.runner import run_stages
    from augmint.studies.stages import Stage, read_result

    stage = Stage("seen", seen, {"n": 3})
    root = arena.out
    run_stages([stage], root, workers=1, backend="sequential")
    folder = root / stage.label
    path = arena.pick(sorted(folder.iterdir()))
    match arena.turn % 5:
        case 0:
            path.write_bytes(damaged(path.read_bytes(), arena.rng))
        case 1:
            path.write_bytes(arena.pickle())
        case 2:
            _replaced(arena, path)
        case 3:
            (folder / arena.rng.choice(("more.pkl", "more.json"))).write_bytes(arena.pickle())
        case _:

            def change(d: Any) -> Any:
                d = anywhere(d, arena)
                if isinstance(d, dict) and "stage" in d:
                    d["sha256"] = fingerprint(d["stage"])
                return d

            try:
                _change(folder / "result.json", change)
            except ValueError:  # not a number that JSON can say
                (folder / "result.json").write_text('{"stage": NaN, "sha256": Infinity}')

    def act() -> None:
        run_stages([stage], root, workers=1, backend="sequential")
        read_result(folder, stage.key)

    return act


def _reported(arena: Arena, text: str | bytes, pictures: dict[str, bytes] | None = None) -> Act:
    folder = arena.out
    (folder / "pictures").mkdir(parents=True)
    (folder / "report.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    for name, content in (pictures or {}).items():
        (folder / "pictures" / f"{name}.png").write_bytes(content)
    return ["report", str(folder)]


@attack("reports")
def odd_report(arena: Arena) -> Act:
    return _reported(arena, json.dumps(anywhere(fake_report(), arena)))


@attack("reports")
def odd_section(arena: Arena) -> Act:
    report = fake_report()
    report[arena.rng.choice(sorted(report))] = arena.pick(NUMBERS)
    return _reported(arena, json.dumps(report))


@attack("reports")
def names_in_a_report(arena: Arena) -> Act:
    return _reported(arena, json.dumps(fake_report(arena.pick(NAMES))), fake_pictures())


@attack("reports")
def damaged_report(arena: Arena) -> Act:
    if arena.turn % 4 == 0:
        return _reported(arena, arena.pickle())
    return _reported(arena, damaged(json.dumps(fake_report()).encode(), arena.rng))


@attack("reports")
def report_texts(arena: Arena) -> Act:
    texts = ("", "[" * DEEP, '{"arms":' * DEEP, "[]", "3", "null", '"x"', "NaN", '{"uplift": NaN}')
    deep = '{"machine": ' + '{"a": ' * 900 + "1" + "}" * 900 + "}"
    return _reported(arena, arena.pick((*texts, deep, '{"title": "\\ud800"}', '{"seeds": 1e999}')))


@attack("reports")
def pictures_of_a_report(arena: Arena) -> Act:
    contents = (
        b"",
        b"GIF89a<script>",
        SOUND[0][:20],
        b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + b"\xff" * 8,
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        arena.pickle(),
        png(3) + b"<script>alert(1)</script>",
    )
    name = arena.rng.choice(("real", "minted", "pairs", *(n for n in NAMES if len(n) < 90)))
    words = _reported(arena, json.dumps(fake_report()), {name: arena.pick(contents)})
    if arena.turn % 5 == 0:
        _replaced(arena, arena.out / "pictures" / "minted.png")
    return words


# minted folders -----------------------------------------------------------------------------------


def _evaluated(arena: Arena, folder: Path) -> Act:
    return ["evaluate", str(arena.bases.data), str(folder), "--steps", "1", "--out", str(arena.out)]


def _minted(arena: Arena) -> Path:
    return Path(shutil.copytree(arena.bases.minted, arena.inside / "minted"))


@attack("mints")
def damaged_mint(arena: Arena) -> Act:
    folder = _minted(arena)
    path = arena.rng.choice([p for p in sorted(folder.rglob("*")) if p.is_file()])
    path.write_bytes(damaged(path.read_bytes(), arena.rng))
    return _evaluated(arena, folder)


@attack("mints")
def odd_rows(arena: Arena) -> Act:
    folder = _minted(arena)
    path = folder / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[arena.turn % len(rows)] = anywhere(rows[arena.turn % len(rows)], arena)
    path.write_text("\n".join(map(json.dumps, rows)))
    return _evaluated(arena, folder)


@attack("mints")
def other_classes(arena: Arena) -> Act:
    name = arena.pick(NAMES)
    return _evaluated(arena, image_folder(arena.inside / "m", (name, "b"), each=4))


@attack("mints")
def mint_into_it(arena: Arena) -> Act:
    """Minting again into a folder whose summary or manifest was altered."""
    folder = Path(shutil.copytree(arena.bases.minted, arena.out / "minted"))
    path = folder / arena.pick(("minted.json", "metadata.jsonl"))
    texts = ("", "[]", "[" * DEEP, "null", '{"format": "augmint-minted"}', "{}", "NaN")
    match arena.rng.randrange(4):
        case 0:
            path.write_text(arena.rng.choice(texts))
        case 1:
            _replaced(arena, path)
        case 2:
            path.write_bytes(damaged(path.read_bytes(), arena.rng))
        case _:
            raw = arena.rng.choice((b"\xff", b"[]\n", b"{}\n", b"[" * DEEP, b"3\n", arena.pickle()))
            (folder / "metadata.jsonl").write_bytes(raw)
            found = hashlib.sha256(raw).hexdigest()
            _change(folder / "minted.json", lambda d: {**d, "manifest_sha256": found})
    return _mint(arena, arena.bases.bundle, "--per-class", "3")
