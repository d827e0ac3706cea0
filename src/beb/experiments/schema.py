"""The tables of a run file: one home for their names, columns and codecs.

Every row names the work item that wrote it. `timings` is the only table whose rows differ between two runs of the
same specification.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCHEMA_VERSION = 2
APPLICATION_ID = 0x42454231  # "BEB1": marks the file as a beb run

DDL = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (item TEXT PRIMARY KEY, kind TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE statements (
    item TEXT NOT NULL, split TEXT NOT NULL, pole TEXT NOT NULL, position INTEGER NOT NULL, text TEXT NOT NULL,
    log_p_negative REAL NOT NULL, log_p_positive REAL NOT NULL, PRIMARY KEY (split, pole, position)
) WITHOUT ROWID;
CREATE TABLE prompts (
    item TEXT NOT NULL, source TEXT NOT NULL, prompt INTEGER NOT NULL, seed TEXT NOT NULL,
    token_ids BLOB NOT NULL, log_probs BLOB NOT NULL, sentence_ends BLOB NOT NULL, n_cut INTEGER NOT NULL,
    text TEXT NOT NULL, PRIMARY KEY (source, prompt)
) WITHOUT ROWID;
CREATE TABLE prompt_log_probs (
    item TEXT NOT NULL, source TEXT NOT NULL, prompt INTEGER NOT NULL, component TEXT NOT NULL,
    method TEXT NOT NULL, sentence_log_p BLOB NOT NULL, PRIMARY KEY (source, prompt, component)
) WITHOUT ROWID;
CREATE TABLE prompt_divergences (
    item TEXT NOT NULL, source TEXT NOT NULL, prompt INTEGER NOT NULL, p TEXT NOT NULL, q TEXT NOT NULL,
    method TEXT NOT NULL, sentence_kl_nats BLOB NOT NULL, PRIMARY KEY (source, prompt, p, q)
) WITHOUT ROWID;
CREATE TABLE prompt_scores (
    item TEXT NOT NULL, source TEXT NOT NULL, prompt INTEGER NOT NULL, sentence INTEGER NOT NULL,
    p_negative REAL NOT NULL, p_neutral REAL NOT NULL, p_positive REAL NOT NULL,
    PRIMARY KEY (source, prompt, sentence)
) WITHOUT ROWID;
CREATE TABLE responses (
    item TEXT NOT NULL, format TEXT NOT NULL, condition TEXT NOT NULL, prompt INTEGER NOT NULL,
    sentences INTEGER NOT NULL, response INTEGER NOT NULL, seed TEXT NOT NULL,
    token_ids BLOB NOT NULL, log_probs BLOB NOT NULL, n_cut INTEGER NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (format, condition, prompt, sentences, response)
) WITHOUT ROWID;
CREATE TABLE response_scores (
    item TEXT NOT NULL, format TEXT NOT NULL, condition TEXT NOT NULL, prompt INTEGER NOT NULL,
    sentences INTEGER NOT NULL, response INTEGER NOT NULL,
    p_negative REAL NOT NULL, p_neutral REAL NOT NULL, p_positive REAL NOT NULL,
    PRIMARY KEY (format, condition, prompt, sentences, response)
) WITHOUT ROWID;
CREATE TABLE turns (
    item TEXT NOT NULL, arm TEXT NOT NULL, conversation INTEGER NOT NULL, turn INTEGER NOT NULL, speaker TEXT NOT NULL,
    seed TEXT NOT NULL, token_ids BLOB NOT NULL, log_probs BLOB NOT NULL, sentence_ends BLOB NOT NULL,
    n_cut INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (arm, conversation, turn, speaker)
) WITHOUT ROWID;
CREATE TABLE turn_log_probs (
    item TEXT NOT NULL, arm TEXT NOT NULL, conversation INTEGER NOT NULL, turn INTEGER NOT NULL, speaker TEXT NOT NULL,
    component TEXT NOT NULL, method TEXT NOT NULL, sentence_log_p BLOB NOT NULL,
    PRIMARY KEY (arm, conversation, turn, speaker, component)
) WITHOUT ROWID;
CREATE TABLE turn_divergences (
    item TEXT NOT NULL, arm TEXT NOT NULL, conversation INTEGER NOT NULL, turn INTEGER NOT NULL, speaker TEXT NOT NULL,
    p TEXT NOT NULL, q TEXT NOT NULL, method TEXT NOT NULL, sentence_kl_nats BLOB NOT NULL,
    PRIMARY KEY (arm, conversation, turn, speaker, p, q)
) WITHOUT ROWID;
CREATE TABLE turn_scores (
    item TEXT NOT NULL, arm TEXT NOT NULL, conversation INTEGER NOT NULL, turn INTEGER NOT NULL, speaker TEXT NOT NULL,
    p_negative REAL NOT NULL, p_neutral REAL NOT NULL, p_positive REAL NOT NULL,
    PRIMARY KEY (arm, conversation, turn, speaker)
) WITHOUT ROWID;
CREATE TABLE given_texts (
    item TEXT NOT NULL, name TEXT NOT NULL, component TEXT NOT NULL, method TEXT NOT NULL, text TEXT NOT NULL,
    sentence_log_p BLOB NOT NULL, PRIMARY KEY (name, component)
) WITHOUT ROWID;
CREATE TABLE representations (
    item TEXT NOT NULL, behavior TEXT NOT NULL, pole TEXT NOT NULL, position INTEGER NOT NULL, pooling TEXT NOT NULL,
    n_layers INTEGER NOT NULL, text TEXT NOT NULL, hidden_states BLOB NOT NULL,
    PRIMARY KEY (behavior, pole, position, pooling)
) WITHOUT ROWID;
CREATE TABLE representation_decisions (
    item TEXT NOT NULL, behavior TEXT NOT NULL, pooling TEXT NOT NULL, layer INTEGER NOT NULL,
    n_folds INTEGER NOT NULL, folds BLOB NOT NULL, decisions BLOB NOT NULL, PRIMARY KEY (behavior, pooling, layer)
) WITHOUT ROWID;
CREATE TABLE failures (
    item TEXT NOT NULL, position INTEGER NOT NULL, subject TEXT NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (item, position)
) WITHOUT ROWID;
CREATE TABLE timings (item TEXT NOT NULL, finished TEXT NOT NULL, seconds REAL NOT NULL);
"""

ROW_TABLES = (
    "statements", "prompts", "prompt_log_probs", "prompt_divergences", "prompt_scores", "responses",
    "response_scores", "turns", "turn_log_probs", "turn_divergences", "turn_scores", "given_texts", "representations",
    "representation_decisions", "failures",
)  # fmt: skip
VOLATILE_TABLES = ("timings",)

BLOB_TYPES: dict[str, np.dtype[Any]] = {
    "token_ids": np.dtype("<i4"),
    "sentence_ends": np.dtype("<i4"),
    "log_probs": np.dtype("<f8"),
    "sentence_log_p": np.dtype("<f8"),
    "sentence_kl_nats": np.dtype("<f8"),
    "hidden_states": np.dtype("<f2"),
    "folds": np.dtype("<i4"),
    "decisions": np.dtype("<f8"),
}


def pack(column: str, values: ArrayLike) -> bytes:
    """Bytes of a sequence as stored in the blob column of that name."""
    return np.asarray(values).astype(BLOB_TYPES[column]).tobytes()


def unpack(column: str, blob: bytes) -> NDArray[Any]:
    """The array stored in the blob column of that name."""
    return np.frombuffer(blob, dtype=BLOB_TYPES[column])
