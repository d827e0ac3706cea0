"""`beb sweep`: one file, many runs, one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from beb.errors import (
    BadSpec,
    BebError,
    ClusterError,
    GateFailed,
    SpecChanged,
    StoreBusy,
    StoreFull,
    WorkersLost,
)
from beb.experiments import sweep as module
from beb.experiments.execute import Progress
from beb.experiments.experiment import run_experiment
from beb.experiments.guardrail.experiment import GUARDRAIL
from beb.experiments.spec import make_spec
from beb.experiments.store import RUN_FILE
from beb.experiments.sweep import SCENARIOS, carry_out, read_sweep
from command import beb, refused
from command import said as cli_said
from interrupted import content

WORLDS = """
models = ["world:markov", "world:coin"]
scenarios = ["measure", "guardrail"]
[options]
prompts = 8
sentences = 3
responses = 2
[measure]
prompts = 12
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "spec.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_becomes_every_run_with_its_own_options(tmp_path: Path) -> None:
    text = """
    models = ["smollm2", "world:markov"]
    behaviors = ["agreeableness", "honesty"]
    scenarios = ["measure", "probe"]
    [options]
    seed = 3
    prompts = 20
    [measure]
    prompts = 30
    [probe]
    statements = 40
    """
    sweep = read_sweep(written(tmp_path, text))
    labels = [run.label for run in sweep.runs]
    assert labels == [
        "measure · smollm2 · agreeableness", "measure · smollm2 · honesty", "probe · smollm2",
        "measure · world:markov", "probe · world:markov",
    ]  # fmt: skip
    specs = [run.spec.model_dump() for run in sweep.runs]
    assert [spec["seed"] for spec in specs] == [3] * 5
    assert specs[0]["prompts"] == 30
    assert specs[2]["behaviors"] == ("agreeableness", "honesty")
    assert specs[2]["statements"] == 40
    assert len({run.folder for run in sweep.runs}) == 5
    assert {run.folder.parent for run in sweep.runs} == {Path("runs/spec")}


@pytest.mark.parametrize(
    ("text", "key", "accepted"),
    [
        ("models = [", "is not TOML", ""),
        ("scenarios = ['measure']", "models = None", "a list of names"),
        ("models = 'smollm2'\nscenarios = ['measure']", "models = 'smollm2'", 'models = ["smollm2"]'),
        ("models = ['a', 'a']\nscenarios = ['measure']", "models = 'a'", "each name once"),
        ("models = ['a']\nscenarios = ['mesure']", "scenarios = 'mesure'", ", ".join(SCENARIOS)),
        ("model = ['a']\nscenarios = ['measure']", "model = ['a']", "did you mean models?"),
        ("models = ['a']\nscenarios = ['measure']\noptions = 3", "options = 3", "a table"),
        (
            "models = ['a']\nscenarios = ['measure']\n[options]\npromts = 3",
            "options.promts = 3",
            "did you mean prompts?",
        ),
        ("models = ['a']\nscenarios = ['measure']\n[measure]\nturns = 3", "measure.turns = 3", "responses"),
        ("models = ['a']\nscenarios = ['measure']\n[converse]\nturns = 3", "[converse]", "measure"),
        ("models = ['a']\nscenarios = ['measure']\n[options]\nprompts = 'many'", "prompts", "'many'"),
        ("models = ['a']\nscenarios = ['measure']\n[options]\nprompts = 2", "prompts", "at least 5"),
    ],
)
def test_a_bad_file_is_one_line_with_key_value_and_what_is_accepted(
    tmp_path: Path, text: str, key: str, accepted: str
) -> None:
    with pytest.raises(BadSpec) as caught:
        read_sweep(written(tmp_path, text))
    message = str(caught.value)
    assert str(tmp_path / "spec.toml") in message
    assert key in message
    assert accepted in message
    assert "\n" not in message


NAMED = """
models = ["smollm2", "org/on-the-hub", "world:coin", "./here", "lora:./adapter", "vllm:http://127.0.0.1:9#m"]
behaviors = ["honesty", "./verbs", "org/data:some.jsonl"]
scenarios = ["measure"]
[measure]
kl = "monte-carlo"
scorer = "labels:labels.csv"
negative = "persona:You are rude."
positive = "model:vllm:http://127.0.0.1:9#n"
"""
"""All of it is there, as far as that shows without the network."""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what `NAMED` names, as the working directory. No model in it would load."""
    for folder, file in (("here", "config.json"), ("adapter", "adapter_config.json"), ("empty", "readme.txt")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("{}", encoding="utf-8")
    (tmp_path / "verbs").mkdir()
    for pole, verb in (("negative", "harm"), ("positive", "help")):
        lines = [f"I {verb} {who} {when}." for who in ("cats", "dogs", "birds", "guests", "friends")
                 for when in ("today", "often", "at home", "at work", "in town")]  # fmt: skip
        (tmp_path / "verbs" / f"{pole}.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "labels.csv").write_text("text,label\nI harm cats.,negative\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_there_is_accepted_without_being_loaded(there: Path) -> None:
    assert len(read_sweep(written(there, NAMED)).runs) == 5 * 3 + 1


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("world:coin", "world:markof", "models = 'world:markof': unknown world 'markof'; did you mean 'markov'?"),
        ("smollm2", "smolm2", "models = 'smolm2': unknown model 'smolm2'; did you mean 'smollm2'?"),
        ("./here", "./nowhere", "models = './nowhere': no such folder"),
        ("./here", "./nowhere.gguf", "models = './nowhere.gguf': no such file"),
        ("./here", "./empty", "models = './empty': ./empty holds no config.json"),
        ("./here", "./adapter", "write lora:./adapter"),
        ("./here", "aligned:./nowhere", "models = 'aligned:./nowhere': no such folder"),
        ("lora:./adapter", "lora:./here", "models = 'lora:./here': here is no LoRA adapter"),
        ("http://127.0.0.1:9#m", "127.0.0.1:9#m", "models = 'vllm:127.0.0.1:9#m': 'vllm:127.0.0.1:9#m' holds no http"),
        ("127.0.0.1:9#m", "127.0.0.1:9?timeout=x#m", "the server option ?timeout= is unknown or its value"),
        ("honesty", "agreeablenes", "behaviors = 'agreeablenes': unknown behavior 'agreeablenes'; did you mean"),
        ("./verbs", "./nouns", "behaviors = './nouns': unknown behavior './nouns'"),
        ("./verbs", "./here", "behaviors = './here': here: no negative.txt"),
        ("labels:labels.csv", "labels:no.csv", "[measure] scorer = 'labels:no.csv': "),
        ("labels:labels.csv", "prob", "[measure] scorer = 'prob': "),
        ("persona:You", "persna:You", "[measure] negative = 'persna:You are rude.': "),
        ("persona:You are rude.", "lora:./gone", "[measure] negative = 'lora:./gone': gone is no LoRA adapter"),
        ("persona:You are rude.", "lora@./gone", "[measure] negative = 'lora@./gone': no such folder"),
        ("persona:You are rude.", "lora", "[measure] negative = 'lora': an adapter is fitted on local weights"),
        ("persona:You are rude.", "model:#n", "one of the target's server, but smollm2 is on none"),
        ("model:vllm:http://127.0.0.1:9#n", "model:./gone", "[measure] positive = 'model:./gone': no such folder"),
        ("model:vllm:http://127.0.0.1:9#n", "residual", "[measure] positive = 'residual': "),
        ("monte-carlo", "exact", "[measure] kl = 'exact': vllm:http://127.0.0.1:9#m is behind a server"),
        (
            'scenarios = ["',
            'scenarios = ["probe", "',
            "models = 'vllm:http://127.0.0.1:9#m': probe needs local weights",
        ),
    ],
)
def test_what_is_not_there_is_refused_before_anything_runs(there: Path, right: str, wrong: str, said: str) -> None:
    path = written(there, NAMED.replace(right, wrong, 1))
    with pytest.raises(BadSpec) as caught:
        read_sweep(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize("command", ["sweep", "plan"])
def test_both_commands_refuse_it(command: str, there: Path) -> None:
    line = refused(cli_said(command, str(written(there, WORLDS.replace("coin", "coyn"))), cwd=there))
    assert "models = 'world:coyn': unknown world 'coyn'; did you mean 'coin'?" in line
    assert not (there / "runs").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match=r"none\.toml cannot be read"):
        read_sweep(tmp_path / "none.toml")


def test_the_command_runs_all_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    written(tmp_path, WORLDS)
    done = beb("sweep", "spec.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 finished" in done.stdout
    assert "run 4 of 4: guardrail · world:coin" in done.stderr
    assert done.stdout.count("markov") >= 2
    assert max(map(len, done.stdout.splitlines()[:-2])) <= 80
    home = tmp_path / "runs" / "spec"
    assert (home / "overview.html").stat().st_size > 10_000
    folders = sorted(path.parent for path in home.glob(f"*/{RUN_FILE}"))
    assert len(folders) == 4
    assert all((folder / "report.html").is_file() for folder in folders)
    before = {folder: content(folder) for folder in folders}
    (folders[0] / RUN_FILE).unlink()
    assert beb("sweep", "spec.toml", cwd=tmp_path).stdout == done.stdout
    assert {folder: content(folder) for folder in folders} == before
    spec = make_spec(GUARDRAIL.spec, {"model": "world:coin", "prompts": 8, "sentences": 3, "responses": 2})
    run_experiment(GUARDRAIL, spec, tmp_path / "alone")
    assert content(tmp_path / "alone") in before.values()


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    text = WORLDS.replace('"world:coin"', '"nobody/nothing"')
    done = beb("sweep", str(written(tmp_path, text)), "--offline", cwd=tmp_path)
    assert done.returncode == 1
    assert "2 of 4 finished" in done.stdout
    assert "no result: measure · nobody/nothing · agreeableness: " in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("fault", [StoreFull("no space left"), ClusterError("no Ray cluster")])
def test_what_stands_in_the_way_of_every_run_stops_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BebError
) -> None:
    begun: list[int] = []

    def full(*_: object, progress: Progress | None = None, **__: object) -> None:
        raise fault

    monkeypatch.setattr(module, "run_experiment", full)
    with pytest.raises(type(fault)):
        carry_out(read_sweep(written(tmp_path, WORLDS), out=tmp_path), begun=lambda _, i: begun.append(i))
    assert begun == [0]


def test_what_concerns_one_run_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[BebError] = [SpecChanged("another"), StoreBusy("in use"), WorkersLost("three"), GateFailed("poor")]
    left = iter(faults)

    def fail(*_: object, progress: Progress | None = None, **__: object) -> None:
        raise next(left)

    monkeypatch.setattr(module, "run_experiment", fail)
    outcomes = carry_out(read_sweep(written(tmp_path, WORLDS), out=tmp_path))
    assert [outcome.error for outcome in outcomes] == [f"{type(fault).__name__}: {fault}" for fault in faults]


def test_models_with_the_same_last_name_have_folders_of_their_own(tmp_path: Path) -> None:
    text = "models = ['one/llama', 'two/llama', 'three/qwen']\nscenarios = ['measure']"
    names = [run.folder.name for run in read_sweep(written(tmp_path, text)).runs]
    assert names == ["one_llama-llama-agreeableness", "two_llama-llama-agreeableness", "qwen-agreeableness"]


def test_a_chat_api_is_measured_as_one(tmp_path: Path) -> None:
    text = """
    models = ["openai:http://127.0.0.1:1#m"]
    scenarios = ["measure"]
    [measure]
    negative = "model:org/x"
    """
    (run,) = read_sweep(written(tmp_path, text)).runs
    assert run.experiment.name == "chat-api"
    with pytest.raises(BadSpec, match=r"spec\.toml: \[measure\] for openai:http://127\.0\.0\.1:1#m: negative 'lora'"):
        read_sweep(written(tmp_path, text.replace("[measure]", "#").replace("negative", "#")))
