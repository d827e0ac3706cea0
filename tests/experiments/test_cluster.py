"""The same runs on a real Ray cluster of several nodes on this machine, with workers that die and nodes that join."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beb.cli.main import INTERRUPTED
from beb.errors import BadSpec, ClusterError, StoreBusy, WorkersLost
from beb.experiments.cluster import MOST_LOSSES, RayCrew, RayExecutor, ray_executor
from beb.experiments.execute import Crew, Progress
from beb.experiments.experiment import Experiment, run_experiment
from beb.experiments.measure import MEASURE
from beb.experiments.spec import MeasureSpec, make_spec
from beb.experiments.store import Store
from beb.experiments.sweep import carry_out, sweep_of
from beb.models.hardware import Hardware
from checkpoints import adapter_sweep
from held_runs import apart, unanalysed
from interrupted import command, content, items_done

ray = pytest.importorskip(
    "ray",
    reason="NOT TESTED: Ray is not installed, so --executor ray was not run; pip install ray, then run this again",
)
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own

SPEC = make_spec(MeasureSpec, {"model": "world:markov", "prompts": 64, "sentences": 4})
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes, with room for one worker each."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    found.add_node(**NODE)
    ray.init(address=found.address, logging_level="error", log_to_driver=False)
    try:
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run by the executor of this process."""
    folder = tmp_path_factory.mktemp("here")
    run_experiment(MEASURE, SPEC, folder)
    return folder


class Watched:
    """A Ray executor that shows its crew, and has something done before each item begins."""

    def __init__(self, before_item: Callable[[RayCrew, int], None], executor: RayExecutor | None = None) -> None:
        self.executor = executor or RayExecutor()
        self.before_item = before_item
        self.begun = 0

    @contextmanager
    def crew(
        self,
        experiment: Experiment[Any, Any, Any],
        spec: Any,
        *,
        offline: bool,
        hardware: Hardware,
        progress: Progress | None,
    ) -> Iterator[Crew]:
        with self.executor.crew(experiment, spec, offline=offline, hardware=hardware, progress=progress) as crew:
            assert isinstance(crew, RayCrew)
            self.seen = crew
            yield crew

    def progress(self, _what: str, _done: float, total: float) -> None:
        if total > 1:
            self.begun += 1
            self.before_item(self.seen, self.begun)


def run(
    folder: Path,
    before_item: Callable[[RayCrew, int], None],
    executor: RayExecutor | None = None,
    what: tuple[Experiment[Any, Any, Any], Any] = (MEASURE, SPEC),
) -> RayCrew:
    watched = Watched(before_item, executor)
    run_experiment(*what, folder, executor=watched, progress=watched.progress)
    return watched.seen


def wait_for_two(crew: RayCrew, begun: int) -> None:
    """Slow the work down until both nodes have done some of it."""
    if begun > 5 and len(crew.carried) < 2:
        time.sleep(0.2)


def test_two_nodes_write_the_rows_of_one_process(cluster: Any, here: Path, tmp_path: Path) -> None:
    crew = run(tmp_path / "there", wait_for_two)
    assert content(tmp_path / "there") == content(here)
    assert len(crew.carried) == 2
    with Store.read(here) as store:
        assert sum(crew.carried.values()) == len(store.done())


def test_workers_that_hold_a_checkpoint_write_the_rows_of_one_process(cluster: Any, shop: Path, tmp_path: Path) -> None:
    """On as many threads as a worker has."""
    import torch

    names = {"model": "target", "negative": "unkind", "positive": "kind", "behavior": "verbs"}
    given = {option: str(shop / name) for option, name in names.items()}
    given |= {pole: f"model:{given[pole]}" for pole in ("negative", "positive")}
    given |= {"scorer": f"labels:{shop / 'labels.csv'}"}
    options = {"prompts": 24, "sentences": 3, "max_sentence_tokens": 12}
    spec = make_spec(MeasureSpec, {**given, **options})
    what = (replace(MEASURE, analyse=lambda store: store), spec)  # the texts of so small a model have no labels
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_experiment(*what, tmp_path / "here")
    finally:
        torch.set_num_threads(threads)
    crew = run(tmp_path / "there", wait_for_two, what=what)
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert len(crew.carried) == 2
    assert not crew.losses


def test_a_sweep_over_the_cluster_is_the_sweep_of_one_process(cluster: Any, tmp_path: Path) -> None:
    given = {
        "models": ["world:markov", "world:coin"], "scenarios": ["measure", "guardrail"],
        "options": {"prompts": 8, "sentences": 3, "responses": 2},
    }  # fmt: skip
    sweeps = [sweep_of(given, "here", name="s", out=tmp_path / where) for where in ("here", "there")]
    for sweep, executor in zip(sweeps, (None, RayExecutor(workers=2)), strict=True):
        assert [outcome.error for outcome in carry_out(sweep, executor=executor)] == [""] * 4
    for one, other in zip(*(sweep.runs for sweep in sweeps), strict=True):
        assert content(one.folder) == content(other.folder)


def test_workers_keep_their_models_through_a_sweep(cluster: Any, shop: Path, tmp_path: Path) -> None:
    import torch

    sweep = unanalysed(sweep_of(adapter_sweep(shop), "here", name="s", out=tmp_path / "there"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        wanted = apart(sweep, tmp_path / "here")
    finally:
        torch.set_num_threads(threads)
    with RayExecutor(workers=2).lasting() as executor:
        assert executor.held is not None
        assert [outcome.error for outcome in carry_out(sweep, executor=executor)] == [""] * 4
        loads = [[Path(name).name for name in names] for names in executor.held.loads.values()]
        assert len(executor.held.hands) == 2
    assert [content(run.folder) for run in sweep.runs] == wanted
    # A worker that is still loading when the other has done everything has had nothing to load for.
    assert 1 <= len(loads) <= 2
    assert {name for names in loads for name in names} == {"target", "twin"}
    assert all(names in (["target"], ["twin"], ["target", "twin"]) for names in loads)


def test_workers_that_die_between_the_runs_of_a_sweep_are_not_missed(cluster: Any, tmp_path: Path) -> None:
    given = {
        "models": ["world:markov"], "scenarios": ["measure", "guardrail", "best-of", "probe", "converse"],
        "options": {"prompts": 8, "sentences": 3, "responses": 2}, "converse": {"format": "plain"},
    }  # fmt: skip
    here, there = (sweep_of(given, "here", name="s", out=tmp_path / where) for where in ("here", "there"))
    assert [outcome.error for outcome in carry_out(here)] == [""] * 5
    with RayExecutor(workers=2).lasting() as executor:
        held = executor.held
        assert held is not None

        def kill(_run: Any, i: int) -> None:
            for hand in held.hands:
                if i < 4:
                    os.kill(hand.process, signal.SIGKILL)

        assert [outcome.error for outcome in carry_out(there, executor=executor, begun=kill)] == [""] * 5
        assert len(held.loads) >= 4
    for one, other in zip(here.runs, there.runs, strict=True):
        assert content(one.folder) == content(other.folder)


def test_workers_that_are_killed_lose_and_double_nothing(cluster: Any, here: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(crew: RayCrew, begun: int) -> None:
        if begun in (6, 25):
            for _, process in crew.placed:
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    crew = run(tmp_path / "there", kill)
    assert len(set(killed)) >= 2
    assert sum(crew.losses.values()) >= 2
    assert content(tmp_path / "there") == content(here)


def test_a_node_that_joins_is_used_and_one_that_leaves_is_not_missed(cluster: Any, here: Path, tmp_path: Path) -> None:
    joined: list[Any] = []

    def change(crew: RayCrew, begun: int) -> None:
        if begun == 10:
            joined.append(cluster.add_node(**NODE))
        if begun > 10 and len(joined) == 1:
            if crew.carried[joined[0].node_id] == 0:
                time.sleep(0.2)
            else:
                cluster.remove_node(joined[0], allow_graceful=False)
                joined.append(None)

    crew = run(tmp_path / "there", change)
    assert len(joined) == 2, "the node that joined got nothing to do"
    assert crew.carried[joined[0].node_id] >= 1
    assert content(tmp_path / "there") == content(here)


def test_a_run_is_continued_by_another_executor(cluster: Any, here: Path, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(_crew: RayCrew, begun: int) -> None:
        if begun == 12:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tmp_path / "there", stop, RayExecutor(workers=1))
    with Store.read(tmp_path / "there") as store:
        assert 0 < len(store.done()) < 12
    crew = run(tmp_path / "there", lambda *_: None)
    assert content(tmp_path / "there") == content(here)
    with Store.read(here) as store:
        assert sum(crew.carried.values()) < len(store.done())


def test_a_second_run_on_the_folder_is_told_at_once(cluster: Any, here: Path, tmp_path: Path) -> None:
    """Also while the workers of the first one have taken all nodes."""
    told: list[float] = []

    def second(_crew: RayCrew, begun: int) -> None:
        if begun == 3:
            began = time.monotonic()
            with pytest.raises(StoreBusy, match="in use by another process"):
                run_experiment(MEASURE, SPEC, tmp_path / "there", executor=RayExecutor())
            told.append(time.monotonic() - began)

    run(tmp_path / "there", second)
    assert told[0] < 5.0
    assert content(tmp_path / "there") == content(here)


def test_an_item_that_kills_every_worker_is_named(cluster: Any, tmp_path: Path) -> None:
    def kill(crew: RayCrew, _begun: int) -> None:
        for _, process in crew.placed:
            os.kill(process, signal.SIGKILL)

    class Killing(Watched):
        """Kills whoever has been given the first item, again and again."""

        @contextmanager
        def crew(self, *args: Any, **options: Any) -> Iterator[Crew]:
            with super().crew(*args, **options) as crew:
                give = RayCrew._give

                def give_and_kill(self: RayCrew, hand: Any, *what: Any) -> None:
                    os.kill(hand.process, signal.SIGKILL)
                    give(self, hand, *what)

                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(RayCrew, "_give", give_and_kill)
                    yield crew

    lost = rf"gate has lost {MOST_LOSSES} workers;.*It said: The actor died.*"
    with pytest.raises(WorkersLost, match=lost) as caught:
        run_experiment(MEASURE, SPEC, tmp_path, executor=Killing(kill))
    assert "Worker exit detail: " in str(caught.value), "what Ray says of the worker is cut off"


def test_the_command_spreads_a_run(cluster: Any, here: Path, tmp_path: Path) -> None:
    options = ["--model", "world:markov", "--prompts", "64", "--sentences", "4", "--executor"]
    where = f"ray:address={cluster.address},workers=2"
    done = subprocess.run(
        command(tmp_path / "run", [*options, where]), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "run") == content(here)
    done = subprocess.run(
        command(tmp_path / "none", [*options, "ray:address=127.0.0.1:1"]), capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == ClusterError.exit_code, done.stderr
    assert "no Ray cluster at 127.0.0.1:1" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_termination_is_one_line_and_keeps_what_is_finished(cluster: Any, here: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    long = ["--model", "world:markov", "--prompts", "2000", "--executor", f"ray:address={cluster.address}"]
    with subprocess.Popen(command(folder, long), stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not items_done(folder) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, said
    assert said.rstrip().endswith("stopped; finished work is saved: run the same command again to go on")
    assert "SIGTERM" not in said
    assert items_done(folder)


def test_a_worker_that_fits_on_no_node_is_refused(cluster: Any, tmp_path: Path) -> None:
    for executor, wanted in ((RayExecutor(cpus=64), "64 CPU"), (RayExecutor(gpus=1), "1 CPU, 1 GPU")):
        with pytest.raises(ClusterError, match=rf"one worker \({wanted}\); the nodes have \d × \(1 CPU\)"):
            run_experiment(MEASURE, SPEC, tmp_path, executor=executor)


def test_what_a_worker_refuses_is_said_here(cluster: Any, tmp_path: Path) -> None:
    refused = make_spec(MeasureSpec, {"model": "world:markov", "scorer": "likelihood"})
    with pytest.raises(BadSpec, match="--scorer 'likelihood' does not fit a world"):
        run_experiment(MEASURE, refused, tmp_path, executor=RayExecutor())


def test_options_of_the_cluster_are_read() -> None:
    assert ray_executor("") == RayExecutor()
    assert ray_executor("address=10.0.0.1:6379,workers=4,cpus=2,gpus=0.5") == RayExecutor("10.0.0.1:6379", 4, 2.0, 0.5)
    for wrong in ("workers=many", "colour=red", "cpus=-1", "address="):
        with pytest.raises(BadSpec, match=r"accepted: address=HOST:PORT, workers=N"):
            ray_executor(wrong)
