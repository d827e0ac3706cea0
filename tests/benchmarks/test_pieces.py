"""Counted operations, the watched run, and the table."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from beb.experiments.spec import MeasureSpec
from beb.interfaces.language_model import SampleRequest
from beb.models.rowcache import RowCache
from beb.models.weights import Weights
from benchmarks.counting import Meter, RowMeter, TorchClock, entered
from benchmarks.flops import attention_flops, forward_flops, matrix_product_rate
from benchmarks.memory import BUDGET, Peak, memory_rows
from benchmarks.overhead import RunTimes, overhead_rows
from benchmarks.rows import BEGIN, END, Row, compact, markdown, write_into
from benchmarks.sampling import VARIABLE, measure_sampling, sampling_rows
from benchmarks.shares import divided, profiled

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def weights() -> Weights:
    import transformers as tf

    config = tf.LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True, attn_implementation="eager",
    )  # fmt: skip
    return Weights(tf.AutoModelForCausalLM.from_config(config), "tiny")


def test_operations_are_those_that_torch_counts(weights: Weights) -> None:
    n = 21
    with FlopCounterMode(display=False) as counter:
        weights.module(input_ids=torch.arange(2 * n).view(2, n), use_cache=False)
    # The eager attention also multiplies what the mask removes, which no pass needs.
    masked = 4 * 3 * 32 * 2 * (n * n - n * (n + 1) // 2)
    assert forward_flops(weights, [n, n], [n, n]) == counter.get_total_flops() - masked


def test_the_operations_of_attention_are_the_rest(weights: Weights) -> None:
    # Each of 5 positions attends to itself and those before it: 15 pairs, two products, 3 blocks, 32 numbers.
    assert attention_flops(weights, [5]) == 2 * 2 * 15 * 3 * 32
    without = forward_flops(weights, [5], [0]) - attention_flops(weights, [5])
    assert without == 5 * (forward_flops(weights, [1], [0]) - attention_flops(weights, [1]))


def test_the_time_in_the_network_is_divided_up(weights: Weights) -> None:
    found = profiled(weights, [tuple(range(1, 40)), tuple(range(7))])
    assert min(found.products, found.attention, found.other) > 0
    # Of the same work without anything else than its products with the weights, all is that.
    with torch.inference_mode():
        rows, matrix = torch.randn(700, 700), torch.randn(700, 700)
        only = divided(lambda: [rows @ matrix for _ in range(20)])
    assert only.products > 0.9 * only.total
    assert only.attention == 0


def test_a_matrix_product_has_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.flops.SIZES", (128,))
    assert 1e8 < matrix_product_rate(torch.float32, repeats=1) < 1e15


def test_time_in_the_network_and_beside_it(weights: Weights) -> None:
    meter = Meter(weights)
    clock = TorchClock(meter)
    with entered(meter, clock):
        states = weights.hidden_rows([tuple(range(12))])
        inside = meter.network_seconds
        before = clock.seconds
        torch.randn(800, 800) @ torch.randn(800, 800)
    assert len(states) == 1
    assert inside > 0
    assert clock.seconds > before
    assert meter.network_seconds == inside
    assert meter.passes == 1


def test_shares_of_a_run() -> None:
    found = RunTimes(total=12.0, analysis=2.0, network=8.0, arithmetic=1.0)
    assert found.share_outside == pytest.approx(0.2)
    row, _ = overhead_rows(found, MeasureSpec(prompts=6))
    assert row.met is False
    assert row.ours == "20.0%"
    assert "caches) 10.0%, everything else 10.0%" in row.ratio
    assert overhead_rows(dataclasses.replace(found, network=9.6, arithmetic=0.3), MeasureSpec())[0].met is True


def test_without_vllm_the_row_says_so(monkeypatch: pytest.MonkeyPatch, pair) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    model = pair[0]
    requests = [SampleRequest((*model.start_ids, *range(5, 5 + n)), 1, 5, n) for n in range(4)]
    found = measure_sampling(model, requests, repeats=1)
    assert 4 <= found.tokens <= 20
    assert 0 <= found.padding < 1
    row, padding = sampling_rows({"fp32": found})
    assert "vLLM is not installed" in row.other
    assert row.met is None
    assert padding.ours == f"{found.padding:.1%}"


def test_padding_while_sampling_is_counted(weights: Weights) -> None:
    with RowMeter() as meter:
        RowCache(weights, 2, 8).extend([(1, 2, 3), (4,)])
    RowCache(weights, 1, 8).extend([(1,)])
    assert (meter.real, meter.padded) == (4, 6)


def test_memory_rows() -> None:
    held, broken = memory_rows({(300, 8, "scoring"): Peak(10, 10 + BUDGET // 2), (300, 8, "sampling"): "no room"})
    assert (held.met, held.ratio) == (True, "50%")
    assert broken.met is False


def test_the_table_and_its_place_in_a_page(tmp_path: Path) -> None:
    rows = [Row("speed", "1", "2", "0.5", "≥ 1", met=False), Row("other", "3")]
    lines = markdown(rows).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "≥ 1: **missed**" in lines[2]
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{BEGIN}\nold\n{END}\nrest\n", encoding="utf-8")
    write_into(page, compact(rows))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Title\n")
    assert text.endswith(f"{END}\nrest\n")
    assert "old" not in text
    assert "| other | 3 |" in text
    with pytest.raises(ValueError, match="no place for the table"):
        write_into(ROOT / "README.md", "text")


def test_the_documentation_has_the_place() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)


def test_files_and_functions_are_small() -> None:
    for path in (ROOT / "benchmarks").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, (path, node.name)
