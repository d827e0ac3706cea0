"""The main job from end to end on real checkpoints: every kind of component, scorer and precision, and what goes wrong.

The checkpoints are tiny, but they have learnt to say what their pole says, so that the gate passes for a reason.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import t as student_t

from beb.cli.main import main
from beb.errors import ContextTooShort, NoChatTemplate
from beb.experiments.best_of.experiment import BEST_OF
from beb.experiments.converse.experiment import CONVERSE
from beb.experiments.guardrail.experiment import GUARDRAIL
from beb.experiments.spec import make_spec
from beb.experiments.store import Store
from beb.experiments.subjects import ComponentLogRatio, Places
from beb.models.catalog import load_model
from beb.models.components import with_lead
from beb.models.huggingface import HuggingFaceModel
from beb.models.training import AdapterSpec, fit_adapter
from checkpoints import LEAD, build_tokenizer, statements, train_checkpoint

SMALL = ("--prompts", "8", "--sentences", "3", "--max-sentence-tokens", "16", "--formats", "plain", "--offline")
N_PROMPTS, N_SENTENCES = 8, 3
BOTH = ("--negative", "model:unkind", "--positive", "model:kind")
PROBABILITIES = ("p_negative", "p_neutral", "p_positive")
Measured = dict[str, Any]
Outcome = tuple[int, str, str]


@pytest.fixture(scope="module", autouse=True)
def more(shop: Path) -> None:
    """Beside the shop: a fitted adapter, and "foreign", which has a tokenizer of its own."""
    negative = statements("negative")
    train_checkpoint(shop / "foreign", build_tokenizer(" ".join((*negative, LEAD)), 400), negative, seed=4)
    base = load_model("target", device="cpu")
    assert isinstance(base, HuggingFaceModel)
    spec = AdapterSpec(steps=60, learning_rate=5e-3)
    fitted = fit_adapter(with_lead(base, LEAD), negative[::2], spec=spec, cache_dir=shop / "fitted")
    fitted.rename(shop / "adapter")


@pytest.fixture
def beb(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """`beb measure` into tmp_path/out: exit code, standard output on one line, standard error."""

    def run(*arguments: str, out: str = "run") -> Outcome:
        given = ["--model", "target", "--behavior", "./verbs", "--scorer", "labels:labels.csv", *SMALL]
        monkeypatch.setenv("COLUMNS", "200")  # a narrow table breaks its sentences
        monkeypatch.setattr("sys.argv", ["beb", "measure", *given, *arguments, "--out", str(tmp_path / out)])
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return int(code or 0), " ".join(said.out.split()), said.err

    return run


@pytest.fixture
def measured(beb: Callable[..., Outcome], tmp_path: Path) -> Callable[..., tuple[str, Measured]]:
    """A run that ends well: what it printed, and its rows by table."""

    def run(*arguments: str, out: str = "run") -> tuple[str, Measured]:
        code, printed, err = beb(*arguments, out=out)
        assert code == 0, err
        assert (tmp_path / out / "report.html").is_file()
        assert "Gate: held-out accuracy" in printed
        tables = ("statements", "prompts", "prompt_log_probs", "prompt_divergences", "responses", "response_scores")
        with Store.read(tmp_path / out) as store:
            return printed, {"meta": store.meta(), **{name: store.rows(name) for name in tables}}

    return run


def refused(outcome: Outcome) -> str:
    """The one line of an expected error."""
    code, _, err = outcome
    assert code not in (0, 1), err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    return line


def kinds(rows: Measured) -> tuple[str, str]:
    """What P₋ and P₊ were."""
    identities = rows["meta"]["fingerprints"]
    return identities["negative"]["kind"], identities["positive"].get("kind", identities["positive"]["name"])


# --- components ---


@pytest.mark.parametrize(
    ("negative", "positive", "expected"),
    [
        ("model:unkind", "model:kind", ("checkpoint", "checkpoint")),
        ("model:unkind", "target", ("checkpoint", "checkpoint")),
        ("lora:adapter", "model:kind", ("lora", "checkpoint")),
        ("persona:I harm and mock people.", "model:kind", ("persona", "checkpoint")),
        ("lora", "model:kind", ("lora", "checkpoint")),
    ],
)
def test_components(measured: Callable[..., Any], negative: str, positive: str, expected: tuple[str, str]) -> None:
    # A persona may say what no label foresees.
    scorer = ("--scorer", "likelihood") if negative.startswith("persona:") else ()
    out, rows = measured("--negative", negative, "--positive", positive, "--adapter-steps", "60", *scorer)
    assert kinds(rows) == expected
    assert "P₋" in out
    assert len(rows["prompts"]) == 2 * N_PROMPTS
    assert len(rows["responses"]) == N_PROMPTS * (3 * N_SENTENCES + 1)
    assert {row["method"] for row in rows["prompt_divergences"]} == {"exact over the vocabulary"}
    assert all((row["sentence_kl_nats"] >= 0).all() for row in rows["prompt_divergences"])
    names = rows["meta"]["fingerprints"]
    assert (names["positive"]["fingerprint"] == names["target"]["fingerprint"]) == (positive == "target")
    if positive == "target":  # KL(P₋‖P₊) and KL(P₋‖P) are then the same, number by number
        by_q = {
            q: [
                row["sentence_kl_nats"].tolist()
                for row in rows["prompt_divergences"]
                if (row["p"], row["q"]) == ("negative", q)
            ]
            for q in ("positive", "target")
        }
        assert by_q["positive"] == by_q["target"]


def test_the_residual(measured: Callable[..., Any]) -> None:
    """P₊ = (P − αP₋)/(1−α) exactly, so that every prompt's log-probabilities obey the mixture."""
    _, rows = measured("--negative", "lora:adapter", "--positive", "residual")
    assert kinds(rows) == ("lora", "residual")
    logs: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows["prompt_log_probs"]:
        logs.setdefault((row["source"], row["prompt"]), {})[row["component"]] = float(row["sentence_log_p"].sum())
    found = [each for (source, _), each in logs.items() if source == "negative"]
    assert len(found) == N_PROMPTS
    # P₊ carries all of P but what αP₋ takes, and α is below inf P/P₋ by the margin of 10 nats.
    for each in found:
        assert each["positive"] == pytest.approx(each["target"], abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--scorer", "prob"), "--scorer 'prob' is unknown"),
        (("--scorer", "likelihood", "--positive", "residual"), "residual has none: use probe"),
        (("--scorer", "labels:nowhere.csv"), "nowhere.csv"),
        (("--positive", "residul"), "component 'residul' is none of"),
        (("--positive", "model:nowhere"), "nowhere"),
        (("--positive", "lora:nowhere"), "nowhere"),
    ],
)
def test_a_mistake_is_found_before_anything_is_fitted(
    beb: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise AssertionError("fitted")

    monkeypatch.setattr("beb.models.training.fit_adapter", fit)
    assert words in refused(beb("--negative", "lora", *arguments))


def test_an_interrupted_run_scored_by_likelihood_goes_on(
    measured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statements' log ratios are kept, so that the scorer of a second run is the same to the last digit."""
    _, first = measured(*BOTH, "--scorer", "likelihood", out="first")

    def computed_again(self: Any, texts: Any) -> Any:
        return original(self, texts) * (1 + 1e-9)

    original = ComponentLogRatio.__call__
    monkeypatch.setattr(ComponentLogRatio, "__call__", computed_again)
    _, second = measured(*BOTH, "--scorer", "likelihood", out="second")
    assert first["meta"]["fingerprints"]["scorer"] == second["meta"]["fingerprints"]["scorer"]


def test_an_adapter_for_another_base_is_one_line(beb: Callable[..., Any], shop: Path) -> None:
    shutil.copytree(shop / "adapter", shop / "wide", dirs_exist_ok=True)
    weights = load_file(shop / "wide" / "adapter_model.safetensors")
    wider = {key: torch.cat([w, w], dim=1) if "lora_A" in key else w for key, w in weights.items()}
    save_file(wider, shop / "wide" / "adapter_model.safetensors")
    line = refused(beb("--negative", "lora:wide", "--positive", "model:kind"))
    assert "does not fit target" in line
    assert "give the matching base" in line


def test_an_adapter_fitted_on_another_model_is_one_line(beb: Callable[..., Any]) -> None:
    """Of the same shapes, so that its matrices would fit."""
    line = refused(beb("--model", "kind", "--negative", "lora:adapter", "--positive", "target"))
    assert "does not fit kind: it was fitted on other weights" in line


def test_what_was_not_checked_is_noted(measured: Callable[..., Any], shop: Path) -> None:
    shutil.copytree(shop / "adapter", shop / "borrowed", dirs_exist_ok=True)
    (shop / "borrowed" / "beb_adapter.json").unlink()
    config = json.loads((shop / "borrowed" / "adapter_config.json").read_text())
    (shop / "borrowed" / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "a/b"}))
    printed, _ = measured("--negative", "lora:borrowed", "--positive", "model:kind")
    assert "The adapter borrowed was made for a/b; that target has the same weights was not checked." in " ".join(
        printed.split()
    )


# --- other tokenizers ---


def test_exact_divergences_across_tokenizers_are_refused_with_the_way_out(beb: Callable[..., Any]) -> None:
    line = refused(beb("--negative", "model:foreign", "--positive", "model:kind"))
    assert "needs one shared vocabulary" in line
    assert "have different tokenizers" in line
    assert "--kl monte-carlo" in line


def test_the_monte_carlo_divergence_across_tokenizers_is_labelled(measured: Callable[..., Any]) -> None:
    out, rows = measured("--negative", "model:foreign", "--positive", "model:kind", "--kl", "monte-carlo")
    assert "(Monte Carlo), not exact" in out
    methods = {(row["p"], row["q"]): row["method"] for row in rows["prompt_divergences"]}
    assert set(methods) == {("negative", "positive"), ("negative", "target"), ("positive", "negative")}
    assert set(methods.values()) == {"monte-carlo (text under its own tokenizer)"}
    own = [row["method"] for row in rows["prompt_log_probs"] if row["component"] == row["source"]]
    assert set(own) == {"token ids"}  # what was sampled is never tokenised again for the model that sampled it


def test_the_two_divergences_agree_where_both_exist(measured: Callable[..., Any]) -> None:
    """Same prompts; the mean of the sampled log ratios is the exact divergence within chance (once in a million)."""
    found = {}
    for kl in ("exact", "monte-carlo"):
        _, rows = measured(*BOTH, "--kl", kl, "--prompts", "48", out=kl)
        found[kl] = rows
    pairs = {
        kl: torch.tensor(
            [row["sentence_kl_nats"].sum() for row in rows["prompt_divergences"] if row["q"] == "positive"]
        )
        for kl, rows in found.items()
    }
    gap = pairs["monte-carlo"] - pairs["exact"]
    assert len(gap) == 48
    assert gap.mean().abs() < student_t.isf(0.5e-6, len(gap) - 1) * gap.std() / len(gap) ** 0.5


def test_a_residual_needs_one_tokenizer(beb: Callable[..., Any]) -> None:
    components = ("--negative", "model:foreign", "--positive", "residual")
    line = refused(beb(*components, "--kl", "monte-carlo"))
    assert "one shared tokenizer" in line


# --- scorers and precision ---


def test_labels_score_what_they_name_and_leave_out_the_rest(measured: Callable[..., Any], shop: Path) -> None:
    out, rows = measured(*BOTH)
    labels = {text: pole for pole in ("negative", "positive") for text in statements(pole)}
    scores = {tuple(row[k] for k in ("condition", "prompt", "sentences")): row for row in rows["response_scores"]}
    named = 0
    for row in rows["responses"]:
        key = (row["condition"], row["prompt"], row["sentences"])
        label = labels.get(row["text"].strip())
        assert (key in scores) == (label is not None)
        if label is not None:
            named += 1
            assert scores[key][f"p_{label}"] == 1.0
    assert named > 0.8 * len(rows["responses"])
    assert "so B cannot be corrected" in out
    assert ("could not be scored" in out) == (named < len(rows["responses"]))


def test_the_scorer_does_not_change_what_is_sampled(measured: Callable[..., Any]) -> None:
    texts = []
    for scorer in ("likelihood", "labels:labels.csv"):
        _, rows = measured(*BOTH, "--scorer", scorer, out=scorer[:6])
        texts.append([row["text"] for row in rows["responses"]])
    assert texts[0] == texts[1]


def test_the_likelihood_ratio_scores_and_knows_its_errors(measured: Callable[..., Any]) -> None:
    out, rows = measured(*BOTH, "--scorer", "likelihood")
    scorer = rows["meta"]["fingerprints"]["scorer"]
    confusion = scorer["confusion"]
    assert scorer["kind"] == "likelihood ratio"
    assert [sum(row) for row in confusion] == [20, confusion[1][0] + confusion[1][1] + confusion[1][2], 20]
    assert "right class of three on held-out texts" in out
    assert "could not be scored" not in out
    verbs = {"harm": "p_negative", "mock": "p_negative", "help": "p_positive", "thank": "p_positive"}
    scores = {tuple(row[k] for k in ("condition", "prompt", "sentences")): row for row in rows["response_scores"]}
    right = [
        max(PROBABILITIES, key=scores[row["condition"], row["prompt"], row["sentences"]].__getitem__) == verbs[verb]
        for row in rows["responses"]
        if (verb := [*row["text"].split(), "", ""][1]) in verbs
    ]
    assert sum(right) > 0.8 * len(right) > 0


def test_bf16_is_said_and_close(measured: Callable[..., Any]) -> None:
    totals = {}
    for dtype in ("fp32", "bf16"):
        _, rows = measured(*BOTH, "--dtype", dtype, out=dtype)
        assert {rows["meta"]["fingerprints"][name]["dtype"] for name in ("target", "negative", "positive")} == {dtype}
        totals[dtype] = sorted(
            (row["pole"], row["position"], row["log_p_negative"] - row["log_p_positive"])
            for row in rows["statements"]
            if row["split"] == "held-out"
        )
    ratios = [torch.tensor([row[2] for row in totals[dtype]]) for dtype in ("fp32", "bf16")]
    assert not torch.equal(*ratios)
    # bf16 keeps 8 bits: each of some 10 tokens moves by a few per cent of a nat.
    assert (ratios[0] - ratios[1]).abs().max() < 0.1 * ratios[0].abs().mean()


# --- what goes wrong ---


def test_damaged_weights_are_one_line_and_what_was_done_stays(
    beb: Callable[..., Any], shop: Path, tmp_path: Path
) -> None:
    shutil.copytree(shop / "target", shop / "damaged", dirs_exist_ok=True)
    weights = load_file(shop / "damaged" / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, shop / "damaged" / "model.safetensors", metadata={"format": "pt"})
    assert "before any fitting: its weights are damaged" in refused(beb("--model", "damaged", "--adapter-steps", "9"))
    assert "NaN or infinite logits" in refused(
        beb("--negative", "model:damaged", "--positive", "model:kind", out="other")
    )
    done = []
    for _ in range(2):  # the target is asked last: the gate and the prompts are stored, and stay
        assert "NaN or infinite logits" in refused(beb("--model", "damaged", *BOTH, out="damaged"))
        with Store.read(tmp_path / "damaged") as store:
            assert len(store.rows("statements")) > 0
            assert len(store.rows("prompts")) == 2 * N_PROMPTS
            done.append([row["token_ids"].tolist() for row in store.rows("prompts")])
    assert done[0] == done[1]


def test_components_that_tell_nothing_apart_are_stopped_by_the_gate(beb: Callable[..., Any], tmp_path: Path) -> None:
    line = refused(beb("--negative", "model:kind", "--positive", "target"))
    assert "held-out statements" in line
    with Store.read(tmp_path / "run") as store:
        assert store.rows("responses") == []


def test_statements_and_checkpoints_are_what_the_tests_say(shop: Path) -> None:
    config = json.loads((shop / "target" / "config.json").read_text())
    assert config["hidden_size"] == 48
    sizes = {load_model(str(shop / name), device="cpu").info.vocabulary_size for name in ("target", "foreign")}
    assert len(sizes) == 2


def test_what_the_bare_target_cannot_do_is_refused_before_anything_is_fitted(
    shop: Path, beb: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEB_CACHE", str(tmp_path / "fresh"))
    assert "lower --sentences" in refused(beb("--sentences", "900", "--adapter-steps", "100000"))
    silent = tmp_path / "silent"
    shutil.copytree(shop / "target", silent)
    (silent / "chat_template.jinja").unlink()
    assert "use --formats plain" in refused(
        beb("--model", str(silent), "--formats", "chat", "--adapter-steps", "100000")
    )
    common = {"model": str(silent), "behavior": "./verbs", "adapter_steps": 100_000}
    places = Places(tmp_path / "fresh", offline=True)
    for experiment, options, error in (
        (CONVERSE, {"format": "chat"}, NoChatTemplate),
        (CONVERSE, {"format": "plain", "turns": 900}, ContextTooShort),
        (BEST_OF, {"format": "chat"}, NoChatTemplate),
        (GUARDRAIL, {"sentences": 900}, ContextTooShort),
    ):
        spec = make_spec(experiment.spec, common | options)
        with pytest.raises(error):
            experiment.load(spec, places, lambda *_: None)
    assert not list((tmp_path / "fresh").rglob("*"))
