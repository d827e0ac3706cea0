"""Attention to shared beginnings equals attention to rows that hold their whole text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from beb.models.huggingface import HuggingFaceModel
from beb.models.rowcache import RowCache
from beb.models.sharing import ATTENTION, Seat, Seating, shared_attention

HEADS, KV_HEADS, WIDTH = 6, 2, 8


@dataclass
class Layer:
    keys: torch.Tensor
    values: torch.Tensor


@dataclass
class Texts:
    layers: list[Layer]


def texts(n: int, columns: int) -> Texts:
    return Texts([Layer(*torch.randn(2, n, KV_HEADS, columns, WIDTH, dtype=torch.float64)) for _ in range(2)])


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n_caches", [1, 3])
def test_it_is_the_attention_of_the_whole_rows(m: int, n_caches: int) -> None:
    """Rows on several caches, several to a text or none, in any order, against softmax(qk)v row by row in fp64."""
    torch.manual_seed(0)
    rng = np.random.default_rng(m + n_caches)
    caches = [texts(4, columns) for columns in (5, 9, 7)[:n_caches]]
    seats = []
    for _ in range(11):
        cache = caches[int(rng.integers(n_caches))]
        columns = cache.layers[0].keys.shape[2]
        seats.append(Seat(cache, int(rng.integers(4)), int(rng.integers(1, columns + 1))))
    query = torch.randn(11, HEADS, m, WIDTH, dtype=torch.float64)
    key, value = torch.randn(2, 11, KV_HEADS, m + 2, WIDTH, dtype=torch.float64)
    own = torch.arange(m + 2) <= 2 + torch.arange(m)[:, None]
    seating = Seating(seats, torch.device("cpu"))
    visible = torch.cat([seating.visible[:, None, None].expand(-1, -1, m, -1), own.expand(11, 1, -1, -1)], -1)
    mask = torch.zeros(visible.shape, dtype=torch.float64).masked_fill_(~visible, -torch.inf)
    given = seating.attend(1, query, key, value, mask)
    for row, seat in enumerate(seats):
        shared = seat.beginnings.layers[1]
        keys = torch.cat([shared.keys[seat.row, :, : seat.length], key[row]], 1).repeat_interleave(3, 0)
        values = torch.cat([shared.values[seat.row, :, : seat.length], value[row]], 1).repeat_interleave(3, 0)
        scores = query[row] @ keys.transpose(1, 2)
        scores[..., seat.length :].masked_fill_(~own, -torch.inf)
        torch.testing.assert_close(given[row], scores.softmax(-1) @ values, atol=1e-6, rtol=0)


def test_a_model_behind_shared_beginnings_gives_its_own_logits(llama: HuggingFaceModel) -> None:
    rng = np.random.default_rng(1)
    first, second = (tuple(int(t) for t in rng.integers(3, 300, 12)) for _ in range(2))
    beginnings = RowCache(llama.weights, 2, 12)
    beginnings.extend([first[:7]])
    beginnings.extend([second], first=1)
    seats = [Seat(beginnings, 0, 7), Seat(beginnings, 1, 5), Seat(beginnings, 1, 12), Seat(beginnings, 0, 3)]
    tails = [tuple(int(t) for t in rng.integers(3, 300, n)) for n in (4, 2, 6, 5)]
    rows = RowCache(llama.weights, 4, 2)
    seating = Seating(seats, llama.weights.device)
    hidden = rows.extend([tail[:-1] for tail in tails], seating=seating)
    last = rows.extend([tail[-1:] for tail in tails], seating=seating)
    for row, (seat, tail) in enumerate(zip(seats, tails, strict=True)):
        whole = llama.weights.full_logits((first, second)[seat.row][: seat.length] + tail)
        torch.testing.assert_close(llama.weights.logits(last[row]), whole[-1:], atol=1e-4, rtol=0)
        before = hidden[row, : len(tail) - 1]
        torch.testing.assert_close(llama.weights.logits(before), whole[seat.length : -1], atol=1e-4, rtol=0)


def test_the_models_attention_is_restored(llama: HuggingFaceModel) -> None:
    config = llama.weights.decoder.config
    usual = config._attn_implementation
    used = []

    def fail() -> None:
        with shared_attention(config):
            used.append(config._attn_implementation)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert used == [ATTENTION]
    assert config._attn_implementation == usual
