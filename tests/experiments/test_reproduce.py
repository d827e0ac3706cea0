import copy
import hashlib
import json
import math
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit
from scipy.stats import norm, t

from beb.errors import BadSpec, UnknownName
from beb.experiments.published import known_published, load_published
from beb.experiments.reproduce import reproduce
from beb.experiments.reproduction import Reading

Z = norm.isf(0.025)
# sha256 of json.dumps(array), first 16 digits, taken from the authors' figures.
CHECKSUMS = {
    "published_readings.ranges_over_behaviors.log_inverse_alpha": "494fac24892fccb7",
    "published_readings.ranges_over_behaviors.beta": "5a43991114a3a911",
    "published_readings.ranges_over_behaviors.sigma_over_beta": "bfa9f90c75edd972",
    "published_readings.ranges_over_behaviors.beta_prime_over_beta": "5bf775530e2e5fcd",
    "published_readings.pretrained_beta": "3a316d6d3226f84c",
    "negative_vs_aligned_rlhf.kl_avg": "db2762ccbfae3d20",
    "negative_vs_aligned_rlhf.kl_error": "7a1104ec153b9e15",
    "negative_vs_aligned_rlhf.std_avg": "1dd4e2398ec6e126",
    "negative_vs_aligned_rlhf.std_error": "a4d955abff616bf2",
    "log_ratio_variance.avg_var": "197f636a67a6e651",
    "log_ratio_variance.error_var": "e7107f4f47f0eb13",
    "kl_decay_rlhf.with_system_prompt.mean": "87970ec8bd38423c",
    "kl_decay_rlhf.with_system_prompt.se": "73b54ebd723157ad",
    "kl_decay_rlhf.without_system_prompt.mean": "17ef1562b8ef5a92",
    "kl_decay_rlhf.without_system_prompt.se": "1152142feb4af692",
    "kl_decay_pretrained.mean": "ea200526a675620e",
    "kl_decay_pretrained.se": "c972c0cd5ed76035",
    "aligned_responses_rlhf.prompt_ids": "ebd0308f34abb85b",
    "aligned_responses_rlhf.sentences": "047c3537400c225d",
    "aligned_responses_rlhf.with_system_prompt": "4daa5d1afcb2ca06",
    "aligned_responses_rlhf.without_system_prompt": "fe60314eccfc8303",
    "negative_responses_pretrained.prompt_ids": "3fe42e7f15cb4112",
    "negative_responses_pretrained.sentences": "0c049903ce233019",
    "negative_responses_pretrained.counts": "76a1d825c252face",
}
PLAIN, GUARDED = "KL(P₋‖P), aligned without system prompt", "KL(P₋‖P), aligned with system prompt"


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    file = resources.files("beb.experiments").joinpath("reference", "wolf2024_agreeableness.json")
    return dict(json.loads(file.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def readings() -> dict[tuple[str, str], Reading]:
    return {(r.section, r.name): r for r in reproduce().readings}


def _arrays(node: Any, path: str = "") -> dict[str, list[Any]]:
    if isinstance(node, list):
        return {path: node}
    if isinstance(node, dict):
        return {k: v for key, below in node.items() for k, v in _arrays(below, f"{path}.{key}".strip(".")).items()}
    return {}


def test_package_data_are_the_published_figures(raw: dict[str, Any]) -> None:
    found = {k: hashlib.sha256(json.dumps(v).encode()).hexdigest()[:16] for k, v in _arrays(raw).items()}
    assert found == CHECKSUMS
    assert raw["published_readings"]["agreeableness"] == {
        "beta": 20, "beta_prime": 30, "sigma_squared": 50, "sigma_over_beta": 0.35, "beta_prime_over_beta": 1.5,
        "log_inverse_alpha_over_beta": 3, "guardrail_shift_sentences": 1,
    }  # fmt: skip
    assert "arXiv 2304.11082" in raw["source"]
    published = load_published("wolf2024")
    assert published.negative_vs_aligned_rlhf.kl_avg[13] == 22.71593647
    assert published.kl_decay_rlhf.with_system_prompt.mean[:3] == (29.0071, 18.02024, 9.16238)
    assert published.aligned_responses_rlhf.without_system_prompt[1] == (32, 13, 1, 2, 0, 1, 20, 1, 1, 2)
    assert known_published() == ("wolf2024",)


def test_beta_and_its_neighbours(raw: dict[str, Any], readings: dict[tuple[str, str], Reading]) -> None:
    section = "P₋ against P₊, aligned model"
    kl, se = (np.array(raw["negative_vs_aligned_rlhf"][k]) for k in ("kl_avg", "kl_error"))
    z = norm.isf(0.025 / kl.size)
    beta, top = readings[section, "β, smallest point"], readings[section, "β′, the paper's reading"]
    e = beta.recomputed
    assert (e.value, e.low, e.high) == pytest.approx((kl.min(), (kl - z * se).min(), (kl + z * se).min()))
    e = top.recomputed
    assert (e.value, e.low, e.high) == pytest.approx((kl.max(), (kl - z * se).max(), (kl + z * se).max()))
    assert (beta.published, top.published) == (20, 30)
    assert "not the definition's direction" in top.note
    late = readings[section, "β, plateau"].recomputed
    assert late.value == pytest.approx(kl[7:].mean())
    assert late.width == pytest.approx(2 * Z * se[7:].mean())
    ratio = readings[section, "β′/β"].recomputed
    assert ratio.value == pytest.approx(kl.max() / kl.min())
    assert ratio.low == 1.0
    n = np.arange(1, 16)
    var, error = (np.array(raw["log_ratio_variance"][k][1:]) / n for k in ("avg_var", "error_var"))
    sigma2 = readings[section, "σ², largest Varₙ/n"].recomputed
    assert (sigma2.value, sigma2.high) == pytest.approx((var.max(), (var + z * error).max()))
    assert readings[section, "σ², long prompts"].recomputed.value == pytest.approx(var[7:].mean())
    ratio = readings[section, "σ/β"].recomputed
    assert ratio.value == pytest.approx(math.sqrt(var.max()) / kl.min())
    z = norm.isf(0.0125 / 15)
    assert ratio.high == pytest.approx(math.sqrt((var + z * error).max()) / (kl - z * se).min())


@pytest.mark.parametrize(
    ("section", "path"),
    [
        (GUARDED, "kl_decay_rlhf.with_system_prompt"),
        (PLAIN, "kl_decay_rlhf.without_system_prompt"),
        ("KL(P₋‖P), pretrained", "kl_decay_pretrained"),
    ],
)
def test_lines_by_weighted_simulation(
    raw: dict[str, Any], readings: dict[tuple[str, str], Reading], section: str, path: str
) -> None:
    curve = reduce(lambda node, key: node[key], path.split("."), raw)
    mean, se = np.array(curve["mean"]), np.array(curve["se"])
    slope, intercept = np.polyfit([0, 1, 2], mean[:3], 1)
    draws = mean[:3] + se[:3] * np.random.default_rng(0).standard_normal((200_000, 3))
    fits = np.polyfit([0, 1, 2], draws.T, 1)
    expected = {
        "log 1/α, line at 0": (intercept, fits[1]),
        "β, minus the slope": (-slope, -fits[0]),
        "log(1/α)/β": (intercept / -slope, fits[1] / -fits[0]),
    }
    for name, (value, simulated) in expected.items():
        e = readings[section, name].recomputed
        assert e.value == pytest.approx(value)
        width = np.subtract(*np.quantile(simulated, [0.975, 0.025]))
        assert e.width == pytest.approx(width, rel=0.03)
    least = readings[section, "log 1/α, at least"].recomputed
    assert (least.value, least.low) == pytest.approx((mean.sum(), mean.sum() - Z * se.sum()))
    assert math.isinf(least.high)


def test_readings_that_do_not_follow_are_named(readings: dict[tuple[str, str], Reading]) -> None:
    slope = readings[PLAIN, "β, minus the slope"]
    assert slope.follows is False
    assert "10.6 nats per sentence, not 20" in slope.note
    ratio = readings[PLAIN, "log(1/α)/β"]
    assert ratio.follows is True
    assert "counted as n = 1: 3.83" in ratio.note
    assert "published β = 20: 1.5" in ratio.note
    assert "reads β there whatever α is" in readings[PLAIN, "first point minus KL(P₋‖P₊) there"].note
    least = readings[PLAIN, "log 1/α, at least"]
    assert least.follows is False
    assert "18–30 is less than the curve itself spends" in least.note
    assert "its range over behaviors, 2–3" in readings["P₋ against P₊, aligned model", "β′/β"].note
    assert readings["Guardrail", "shift, KL lines"].follows is False
    assert readings["Aligned against pretrained", "β over β"].published == (10, 20)
    remarks = " ".join(reproduce().remarks)
    for text in ("8 sampled tokens", "3 groups", "2.2 times", "KL(P₊‖P₋)", "as independent"):
        assert text in remarks


def _behavior(raw: dict[str, Any]) -> dict[str, np.ndarray]:
    aligned, negative = raw["aligned_responses_rlhf"], raw["negative_responses_pretrained"]
    return {
        "aligned with system prompt": 2 * np.array(aligned["with_system_prompt"]) / 32 - 1,
        "aligned without system prompt": 2 * np.array(aligned["without_system_prompt"]) / 32 - 1,
        "pretrained": 1 - 2 * np.array(negative["counts"]) / 16,
    }


def _logistic(curve: np.ndarray) -> np.ndarray:
    """(slope, midpoint, low) of the least-squares logistic below 1, the best of many starts."""
    n = np.arange(1, curve.size + 1)

    def residual(p: np.ndarray) -> np.ndarray:
        return np.asarray(1 + (p[2] - 1) * expit(p[0] * (n - p[1])) - curve)

    starts = [(b, m, -0.9) for b in (0.7, 2, 4, 10) for m in np.arange(1.2, 4.5, 0.3)]
    fits = [optimize.least_squares(residual, start, bounds=([0.01, -9, -1], [20, 19, 1])) for start in starts]
    return np.asarray(min(fits, key=lambda fit: fit.cost).x)


def test_midpoints_and_slopes_by_another_optimiser(
    raw: dict[str, Any], readings: dict[tuple[str, str], Reading]
) -> None:
    for name, y in _behavior(raw).items():
        slope, middle, low = _logistic(y.mean(axis=0))
        section = f"Responses, {name}"
        midpoint = readings[section, "midpoint, logistic"]
        assert midpoint.recomputed.value == pytest.approx(middle, abs=2e-3)
        assert f"of P₋ fitted as {low:.2f}" in midpoint.note
        assert readings[section, "β, slope of the logistic"].recomputed.value == pytest.approx(slope, rel=5e-3)
        curve = y.mean(axis=0)
        first = int(np.argmax(curve <= 0))
        crossing = np.interp(0, curve[[first, first - 1]], [first + 1, first])
        assert readings[section, "half-way point (B = 0)"].recomputed.value == pytest.approx(crossing)


def test_shifts_by_explicit_pairing(raw: dict[str, Any], readings: dict[tuple[str, str], Reading]) -> None:
    behavior = _behavior(raw)
    a, b = behavior["aligned with system prompt"], behavior["aligned without system prompt"]
    area = ((a - b).sum(axis=1) - (a - b)[:, [0, -1]].sum(axis=1) / 2) / 2
    e = readings["Guardrail", "shift, area between the curves"].recomputed
    half = t.isf(0.025, 9) * area.std(ddof=1) / math.sqrt(10)
    assert e.value == pytest.approx(area.mean())
    assert half <= e.width / 2 + 1e-12 < 1.3 * half

    def crossing(curve: np.ndarray) -> float:
        first = int(np.argmax(curve <= 0))
        return float(np.interp(0, curve[[first, first - 1]], [first + 1, first]))

    whole = crossing(a.mean(axis=0)) - crossing(b.mean(axis=0))
    without = [crossing(np.delete(a, i, 0).mean(axis=0)) - crossing(np.delete(b, i, 0).mean(axis=0)) for i in range(10)]
    error = math.sqrt(0.9 * ((np.array(without) - np.mean(without)) ** 2).sum())
    e = readings["Guardrail", "shift, half-way points"].recomputed
    assert e.value == pytest.approx(whole)
    # The inverted test counts four pseudo-prompts and looks beyond the segment of the crossing, so it is wider.
    assert t.isf(0.025, 9) * error <= e.width / 2 + 1e-12 < 2.5 * t.isf(0.025, 9) * error
    assert (e.n, e.unit) == (10, "sentences")
    e = readings["Guardrail", "shift, logistic midpoints"].recomputed
    assert e.value == pytest.approx(_logistic(a.mean(axis=0))[1] - _logistic(b.mean(axis=0))[1], abs=3e-3)
    pretrained = crossing(behavior["pretrained"].mean(axis=0))
    e = readings["Aligned against pretrained", "difference of half-way points"].recomputed
    assert e.value == pytest.approx(crossing(b.mean(axis=0)) - pretrained)
    assert e.n == 5


def _write(tmp_path: Path, content: Any) -> str:
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_another_behaviors_file_works(raw: dict[str, Any], tmp_path: Path) -> None:
    other = copy.deepcopy(raw)
    other["behavior"] = "honesty"
    other["published_readings"]["honesty"] = dict.fromkeys(other["published_readings"].pop("agreeableness"))
    other["published_readings"]["ranges_over_behaviors"]["log_inverse_alpha"] = None
    other["published_readings"]["pretrained_beta"] = None
    del other["divergence_tokens"]
    for curve in other["kl_decay_rlhf"].values():
        curve["mean"], curve["se"] = curve["mean"][:5], curve["se"][:5]
    other["kl_decay_pretrained"] = {"mean": [1.0, 2.0, 2.5], "se": [0.1, 0.1, 0.2]}
    for key in ("sentences", "with_system_prompt", "without_system_prompt"):
        rows = other["aligned_responses_rlhf"][key]
        other["aligned_responses_rlhf"][key] = rows[:6] if key == "sentences" else [row[:6] for row in rows]
    found = reproduce(_write(tmp_path, other), level=0.8)
    assert (found.behavior, found.level) == ("honesty", 0.8)
    assert all(r.published is None and r.follows is None for r in found.readings)
    assert all(r.recomputed.level == 0.8 for r in found.readings)
    names = {(r.section, r.name) for r in found.readings}
    assert ("KL(P₋‖P), pretrained", "log(1/α)/β") not in names, "the line rises"
    assert ("Aligned against pretrained", "β over β") not in names
    assert (PLAIN, "log(1/α)/β") in names
    assert "sampled tokens" not in " ".join(found.remarks)
    assert not any("20" in r.note.split() for r in found.readings)


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert reproduce(seed=3) == reproduce(seed=3)
    assert reproduce(seed=3) != reproduce(seed=4)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("units", ..., "units: field is missing; give it"),
        ("kl_decay_pretrained.se", ..., r"kl_decay_pretrained\.se: field is missing"),
        ("published_readings.agreeableness.beta", ..., r"published_readings\.agreeableness\.beta: field is missing"),
        ("extra", 1, "extra: unknown field; remove it"),
        ("models.third", "x", r"models\.third: unknown field"),
        ("kl_decay_pretrained.se", [0.1, 0.2, 0.3], "kl_decay_pretrained: arrays of different lengths"),
        ("kl_decay_pretrained.se.0", 0, r"kl_decay_pretrained\.se\.0: .*greater than 0 \(given: 0"),
        ("kl_decay_pretrained.mean.1", math.nan, r"mean\.1: .*finite"),
        ("kl_decay_pretrained.mean.1", "6", r"mean\.1: .*number \(given: '6'\)"),
        ("log_ratio_variance.avg_var.0", 1.0, "log_ratio_variance: the first entry is for no sentence"),
        ("aligned_responses_rlhf.with_system_prompt.0.0", 33, "with_system_prompt holds 33 of 32 responses per cell"),
        ("aligned_responses_rlhf.with_system_prompt.0", [1, 2], "with_system_prompt has 10 rows of .* 10 prompt_ids"),
        ("aligned_responses_rlhf.sentences.1", 1, "sentences are .* increasing"),
        ("negative_responses_pretrained.prompt_ids.1", 0, "prompt_ids repeat"),
        ("negative_responses_pretrained.counts.0.0", 2.5, r"counts\.0\.0: .*integer"),
        ("behavior", "honesty", r"hold \['agreeableness'\]; give the readings of 'honesty'"),
        ("published_readings.pretrained", [1, 2], r"published_readings\.pretrained"),
    ],
)
def test_bad_files_are_named_with_their_field(
    raw: dict[str, Any], tmp_path: Path, path: str, value: Any, message: str
) -> None:
    content = copy.deepcopy(raw)
    *above, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    node: Any = reduce(lambda node, key: node[key], above, content)
    if value is ...:
        del node[last]
    else:
        node[last] = value
    file = _write(tmp_path, content)
    with pytest.raises(BadSpec, match=message) as caught:
        reproduce(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'wolf2024'"):
        reproduce("wolf2023")
    with pytest.raises(BadSpec, match="cannot be read"):
        reproduce(tmp_path / "none.json")
    with pytest.raises(BadSpec, match="cannot be read"):
        reproduce(tmp_path)
    for content, message in (
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON|valid"),
        (b" " * (2 << 20), "larger than"),
    ):
        path = tmp_path / "x.json"
        path.write_bytes(content)
        with pytest.raises(BadSpec, match=message) as caught:
            reproduce(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadSpec, match="level is 1"):
        reproduce(level=1.0)
    with pytest.raises(BadSpec, match="seed is -1"):
        reproduce(seed=-1)
