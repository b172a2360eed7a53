"""A report with every field, and pictures for it;
shared by the tests of page, browser and attacks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from augmint.core.pictures import png_bytes, to_picture


def noise(height: int, width: int, seed: int) -> bytes:
    """Return a PNG of smooth blobs: something to look at where a real grid would stand."""
    draw = np.random.default_rng(seed)
    pixels = draw.normal(size=(height, width))
    for axis in (0, 1):
        pixels = sum(np.roll(pixels, k, axis) for k in (-1, 0, 1))
    pixels = 255 * (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return png_bytes(to_picture(pixels.astype(np.uint8)[None]))


def fake_pictures() -> dict[str, bytes]:
    """Return one picture for every name that a study may give."""
    names = ("real", "minted", "progress", "planted", "flagged")
    found = {name: noise(100, 120, i) for i, name in enumerate(names)}
    return {**found, "pairs": noise(120, 700, 9)}


def fake_report(hostile: str = "") -> dict[str, Any]:
    """Return a report with every field; `hostile` is put into every text of the user's."""
    arms = {}
    training = {
        "classic": "real images, classic augmentation",
        "minted": "as classic, and curated minted images as half of each batch",
        "shuffled": "as minted, with shuffled labels",
        "more-real": "as classic, and as many held-back real images",
        "copies": "as classic, and near-copies of real images",
    }
    shift = {"classic": 0.0, "minted": 1.4, "shuffled": -2.1, "more-real": 2.9, "copies": 0.1}
    base = [88.21, 87.4, 89.03, 88.7, 87.96]
    wobble = [0.31, -0.42, 0.12, 0.66, -0.35]
    for i, (name, text) in enumerate(training.items()):
        scores = [round(b + shift[name] + 0.6 * wobble[(j + i) % 5], 3) for j, b in enumerate(base)]
        arms[name + hostile] = {
            "mean": float(np.mean(scores)),
            "sd": float(np.std(scores, ddof=1)),
            "scores": scores,
            "training": text + hostile,
            "views_of_each_real_image": 160.0 if i % 2 else 320.0,
            "against": None
            if name == "classic"
            else {
                "mean": shift[name] + 0.031,
                "low": shift[name] - 0.61,
                "high": shift[name] + 0.77,
                "p": 0.0123,
                "p_holm": 0.0004 if i == 1 else 0.2481,
            },
            "secondary": {
                "balanced_accuracy": 88.123,
                "macro_f1": 0.87654,
                "nll": 0.41234,
                "ece": 0.03456,
                "worst_class": 71.42,
            },
        }
    differences = [1.12, 1.98, 0.87, 1.55, 2.21]
    return {
        "title": "digits" + hostile,
        "created": "2025-03-04T10:11:12+00:00",
        "augmint": "0.1.0",
        "verdict": "helps",
        "sentence": "Minted images help small-cnn, trained from scratch at 8 × 8 on digits with 10 "
        "real images a class: +1.55 points of accuracy over classic augmentation, 95 % interval "
        "+0.86 to +2.23, on 5 paired seeds and the same 597 test images." + hostile,
        "by_more_than_delta": False,
        "metric": "accuracy",
        "unit": "points",
        "baseline": "classic" + hostile,
        "treatment": "minted" + hostile,
        "uplift": {
            "mean": 1.546,
            "low": 0.861,
            "high": 2.231,
            "p": 0.00331,
            "seeds": 5,
            "delta": 1.31,
            "sd": 0.5517,
            "method": "paired t, 4 degrees of freedom",
            "seeds_to_settle": 12,
            "differences": differences,
        },
        "arms": arms,
        "arms_left_out": {"translated" + hostile: "no translator was given" + hostile},
        "controls": [
            {
                "name": "shuffled" + hostile,
                "expectation": "must not help",
                "passed": True,
                "text": "−2.07 points, 95 % interval −2.71 to −1.33" + hostile,
            },
            {
                "name": "more-real",
                "expectation": "should help",
                "passed": True,
                "text": "+2.93 points",
            },
            {
                "name": "copies",
                "expectation": "must trip the copying alarm",
                "passed": False,
                "text": "The alarm did not ring.",
            },
            {
                "name": "repeat",
                "expectation": "must be about zero",
                "passed": None,
                "text": "not run",
            },
        ],
        "per_class": [
            {
                "class": f"{c}{hostile}",
                "test_images": 19 if c == 8 else 59 + c,
                "baseline": 85.1 + c,
                "treatment": 86.0 + c,
                "difference": round(math.sin(c) * 3, 3),
                "low": round(math.sin(c) * 3 - 1.6, 3),
                "high": round(math.sin(c) * 3 + 1.7, 3),
                "p_holm": 0.05 * (c + 1),
                "arrow": "none"
                if c in (0, 8) or abs(math.sin(c)) < 0.6
                else "up"
                if math.sin(c) > 0
                else "down",
                "note": "too few test images" if c == 8 else None,
            }
            for c in range(10)
        ],
        "long_tail": {
            "factor": 50.0,
            "rare": ["b" + hostile],
            "text": "the classes have 100 to 2 real images" + hostile,
            "classes": [
                {"class": "a" + hostile, "real": 100, "minted": 0.0},
                {"class": "b" + hostile, "real": 2, "minted": 97.4},
            ],
            "rows": [
                {
                    "measure": measure,
                    "against": against + hostile,
                    "baseline": 61.13,
                    "treatment": 65.29,
                    "difference": 4.16,
                    "low": 1.07,
                    "high": 7.25,
                    "p": 0.0151,
                    "p_holm": 0.0604,
                    "verdict": "inconclusive",
                    "scores": [64.2, 66.4],
                    "baseline_scores": [60.1, 62.2],
                }
                for measure in ("worst class", "rare third")
                for against in ("classic", "balanced")
            ],
        },
        "gap": {
            "text": "the labelled images lack pose.yaw from 20 to 45 degrees" + hostile,
            "rows": [
                {"arm": "classic" + hostile, "inside": 58.21, "outside": 87.43},
                {
                    "arm": "minted" + hostile,
                    "inside": 61.37,
                    "outside": 86.92,
                    "difference": -0.51,
                    "low": -1.24,
                    "high": 0.22,
                    "primary": True,
                },
            ],
        },
        "grid": [
            {
                "per_class": n,
                "ratio": ratio,
                "baseline": 71.4,
                "treatment": 72.3,
                "mean": 0.93,
                "low": -0.41,
                "high": 2.27,
                "p": 0.118,
                "p_holm": 0.354,
                "decides": n == 20 and ratio == 0.25,
            }
            for n in (10, 20)
            for ratio in (0.25, 0.5)
        ],
        "tuning": {
            "text": "ratio 0.5, threshold 0.8: the best of 2 combinations" + hostile,
            "chosen": {"ratio": 0.5, "threshold": 0.8, "checkpoint": "last"},
            "candidates": [
                {
                    "ratio": ratio,
                    "threshold": 0.8,
                    "checkpoint": "last" + hostile,
                    "mean": 0.812 + ratio / 10,
                    "scores": [0.8125],
                }
                for ratio in (0.25, 0.5)
            ],
            "validation_images": 50,
            "seconds": 431.5,
        },
        "equivalent": {
            "assessed": True,
            "images": 63.4,
            "low": 22.1,
            "high": 118.9,
            "reason": "",
            "curve": [
                {
                    "n": n,
                    "error_mean": 6 + 90 * n**-0.5,
                    "errors": [6 + 90 * n**-0.5 + w for w in wobble],
                }
                for n in (13, 25, 50, 100, 200)
            ],
            "fit": {"a": 6.0123, "b": 90.4321, "c": 0.5012},
        },
        "distribution": [
            {
                "metric": "frechet",
                "value": 3.21456,
                "floor": 0.98765,
                "refused": None,
                "seeds": [3.1, 3.3, 3.25],
                "protocol": {
                    "samples": 100,
                    "features": "small-cnn" + hostile,
                    "digest": "a1b2c3d4",
                    "split": "training, cross-fitted",
                    "resize": "none",
                    "dtype": "float64",
                },
            },
            {
                "metric": "kid",
                "value": 0.0000123,
                "floor": None,
                "refused": None,
                "seeds": [],
                "protocol": {"subsets": 100},
            },
            {
                "metric": "frechet-inception",
                "value": None,
                "floor": None,
                "refused": "100 samples are fewer than 2048 feature dimensions" + hostile,
                "seeds": [],
            },
        ],
        "annotations": [
            {
                "aspect": "points",
                "unit": "NME",
                "error": 0.081,
                "median": 0.07,
                "own": 0.062,
                "ratio": 1.31,
                "n": 400,
                "protocol": "networks trained on halves of the real images",
            }
        ],
        "label_truth": [
            {
                "judge": "cross-fitted on the training split" + hostile,
                "value": 0.9312,
                "judge_accuracy": 0.9588,
                "n": 1000,
            }
        ],
        "diversity": {
            "within": {
                "mse": {"minted": 0.0712, "real": 0.0833},
                "ssim": {"minted": 0.4111, "real": 0.3555},
            },
            "between": {
                "mse": {"minted": 0.1712, "real": 0.1833},
                "ssim": {"minted": 0.1111, "real": 0.0955},
            },
            "pairs": 2000,
            "seed": 7,
        },
        "copying": {
            "recall": 0.982,
            "recall_by_transform": {
                "exact": 1.0,
                "flipped": 1.0,
                "jpeg": 0.99,
                "crop": 0.95,
                "colour_jitter": 0.97,
            },
            "flagged": 3,
            "share": 0.003,
            "minted": 1000,
            "assessed": True,
            "alpha": 0.001,
            "threshold": 0.1234,
            "held_out": 997,
            "source": "the validation split" + hostile,
            "nearer_share": 0.5123,
            "authenticity": 0.8765,
            "c_t": -0.532,
            "p": 0.297,
            "text": "3 of 1 000 minted images are closer to a training image than real ones are."
            + hostile,
        },
        "curation": {
            "requested": 1000,
            "drawn": 1312,
            "accepted": 1000,
            "threshold": 0.8,
            "rejected": {"judge_disagrees" + hostile: 250, "too_close_to_training": 62},
        },
        "power": {
            "mde": 0.943,
            "pilot_sd": 0.551,
            "pilot_seeds": 3,
            "text": "Five seeds detect 0.94 points with 80 % power." + hostile,
        },
        "policy": {
            "chosen": "shift-rotate",
            "text": "Chosen by cross-validation on pilot seeds.",
            "candidates": [
                {"name": "none", "mean": 86.2, "sd": 0.7},
                {"name": "shift-rotate", "mean": 88.4, "sd": 0.5},
                {"name": "mixup" + hostile, "mean": 87.1, "sd": 0.6},
            ],
        },
        "check": {
            "exact_within": [[1, 2]],
            "near_across": [],
            "class_counts": {"zero" + hostile: 10},
            "warnings": ["one" + hostile],
        },
        "data": {
            "source": "digits" + hostile,
            "images": 1797,
            "shape": [1, 8, 8],
            "classes": [f"{c}{hostile}" for c in range(10)],
            "train_per_class": 10,
            "train": 100,
            "validation": 100,
            "pool": 1000,
            "test": 597,
            "digest": "9f86d081884c7d65",
        },
        "network": {
            "name": "small-cnn" + hostile,
            "parameters": 123456,
            "initialisation": "from scratch",
            "size": [8, 8],
        },
        "generator": {
            "text": "A generator of 210 000 parameters was trained 5 times." + hostile,
            "conditioning": "vac",
            "objective": "hinge",
            "steps": 2000,
            "parameters": 210000,
            "losses": [
                {
                    "step": s,
                    "critic": 1 + math.cos(s / 300) / 3,
                    "generator": math.sin(s / 200),
                    "auxiliary" + hostile: 2 * math.exp(-s / 700),
                }
                for s in range(0, 2001, 100)
            ],
        },
        "cost": [
            {"stage": "generator", "count": 5, "seconds": 412.3, "images_shown": 640000},
            {"stage": "arm" + hostile, "count": 25, "seconds": 301.9, "images_shown": 1600000},
            {"stage": "judge", "count": 5, "seconds": 33.2, "images_shown": None},
        ],
        "seconds": 747.4,
        "images_shown": 2240000,
        "machine": {
            "augmint": "0.1.0",
            "torch": "2.13.0",
            "cpu": "a processor" + hostile,
            "threads": 1,
        },
        "command": "augmint prove digits --preset quick" + hostile,
        "config_yaml": "data: digits\npreset: quick\n# " + hostile + "\n",
        "test_openings": [{"time": 1741083000.5, "why": "the study's only look" + hostile}],
        "warnings": ["A warning." + hostile],
    }
