"""Behaviors by name, file, folder or hub data set."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from beb.behaviors.behavior import Behavior, comparison_key, without_repeats
from beb.behaviors.reading import class_of, read_csv, read_json_lines, read_lines, read_text
from beb.errors import BadStatements, UnknownName
from beb.interfaces.scorer import CLASSES

DEFAULT_QUESTION = "What are you like, and how do you act?"

_HUB_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+):(?P<file>[^:]+\.(jsonl|csv))")
_SHAPES = "a folder with negative.txt and positive.txt, a .jsonl, a .csv, or owner/data-set:file.jsonl"


def known_behaviors() -> tuple[str, ...]:
    """Names of the embedded behaviors, in alphabetical order."""
    return tuple(sorted(entry.name for entry in _packs().iterdir() if (entry / "pack.toml").is_file()))


def neutral_statements() -> tuple[str, ...]:
    """The embedded neutral statements, which show neither pole of any behavior."""
    return _embedded_lines("neutral.txt")


def background_fragments() -> tuple[str, ...]:
    """Neutral fragments without beginning, end or sense, as a language model says them unprompted (SmolLM2's)."""
    return _embedded_lines("background.txt")


def load_behavior(
    name_or_path: str | Path,
    *,
    neutral: Sequence[str] | None = None,
    undesired: bool = False,
    offline: bool = False,
) -> Behavior:
    """Load a behavior by whatever names it.

    name_or_path: an embedded name (see `known_behaviors`); a folder with negative.txt, positive.txt and, if wished,
        neutral.txt and pack.toml; a .csv with columns text and label (negative, neutral, positive or -1, 0, 1); a
        .jsonl of Perez et al. 2022 (fields statement, answer_matching_behavior); or one on the Hugging Face hub, as
        "Anthropic/model-written-evals:persona/agreeableness.jsonl". Write ./honesty for a folder of an embedded name.
    neutral: statements of neither pole, instead of those that come with the behavior or are embedded.
    undesired: the behavior that a .jsonl names is the negative pole (for example a wish not to be watched).
    offline: nothing is fetched; a hub data set that is not in the local cache is an error.
    Returns: the behavior; statements repeated within a pole are kept once.
    Raises: UnknownName; BadStatements, with file and line.
    Source: Perez et al. 2022 (arXiv 2212.09251) for the JSONL format.
    """
    name = str(name_or_path)
    if isinstance(name_or_path, str) and name in known_behaviors():
        with resources.as_file(_packs() / name) as folder:
            return _from_folder(folder, name=name, neutral=neutral, undesired=undesired)
    path = Path(name_or_path)
    hub = _HUB_NAME.fullmatch(name)
    if hub and not path.exists():
        path = _from_hub(name, hub["repository"], hub["file"], offline=offline)
    if path.is_dir():
        return _from_folder(path, name=path.resolve().name, neutral=neutral, undesired=undesired)
    if path.suffix.lower() == ".jsonl" and path.exists():
        return _from_perez(path, neutral=neutral, undesired=undesired)
    if path.suffix.lower() == ".csv" and path.exists():
        return _from_csv(path, neutral=neutral, undesired=undesired)
    if path.exists():
        raise BadStatements(f"{path}: not a behavior; give {_SHAPES}")
    if path.suffix.lower() in {".jsonl", ".csv"} or len(path.parts) > 1:
        raise BadStatements(f"{path}: no such file or folder; give {_SHAPES}")
    raise UnknownName.of("behavior", name, known_behaviors(), hint=f"Or give {_SHAPES}.")


def refuse_unknown(name: str) -> None:
    """Refuse what `load_behavior` would refuse; of a data set on the hub, which is not fetched, the name alone.

    Raises: UnknownName; BadStatements, with file and line.
    """
    if not _HUB_NAME.fullmatch(name) or Path(name).exists():
        load_behavior(name, offline=True)


def _packs() -> Traversable:
    return resources.files("beb.behaviors") / "packs"


def _embedded_lines(file: str) -> tuple[str, ...]:
    with resources.as_file(_packs() / file) as path:
        return without_repeats(read_lines(path))


def _from_folder(folder: Path, *, name: str, neutral: Sequence[str] | None, undesired: bool) -> Behavior:
    for pole in ("negative", "positive"):
        if not (folder / f"{pole}.txt").is_file():
            raise BadStatements(f"{folder}: no {pole}.txt; the folder must hold negative.txt and positive.txt")
    poles = {pole: read_lines(folder / f"{pole}.txt") for pole in CLASSES if (folder / f"{pole}.txt").is_file()}
    about = _read_about(folder / "pack.toml") if (folder / "pack.toml").is_file() else {}
    credit = ", ".join(about[key] for key in ("source", "license") if key in about)
    return _behavior(
        name=about.get("name", name),
        description=about.get("description", f"statements of {folder.name}"),
        question=about.get("question", DEFAULT_QUESTION),
        poles=poles,
        source=credit or str(folder),
        neutral=neutral,
        undesired=undesired,
    )


def _read_about(path: Path) -> dict[str, str]:
    try:
        about = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise BadStatements(f"{path}: not TOML ({error}); see an embedded pack.toml") from error
    for key, value in about.items():
        if not isinstance(value, str):
            raise BadStatements(f"{path}: {key} is not a text; put it in double quotes")
    return about


def _from_perez(path: Path, *, neutral: Sequence[str] | None, undesired: bool) -> Behavior:
    poles: dict[str, list[str]] = {"negative": [], "positive": []}
    for line, record in read_json_lines(path):
        for key in ("statement", "answer_matching_behavior"):
            if not isinstance(record.get(key), str):
                raise BadStatements(f"{path}, line {line}: no text field {key!r}; see Perez et al. 2022 for the format")
        answer = record["answer_matching_behavior"].strip().lower()
        if answer not in {"yes", "no"}:
            raise BadStatements(
                f"{path}, line {line}: answer_matching_behavior is {record['answer_matching_behavior']!r}; "
                "only ' Yes' and ' No' say which pole a statement is of"
            )
        if not comparison_key(record["statement"]):
            raise BadStatements(f"{path}, line {line}: the statement is empty; remove the line")
        poles["positive" if answer == "yes" else "negative"].append(record["statement"])
    return _behavior(
        name=path.stem,
        description=f"statements that do or do not show {path.stem.replace('-', ' ')}",
        question=DEFAULT_QUESTION,
        poles=poles,
        source=f"{path.name}, in the format of Perez et al. 2022 (arXiv 2212.09251)",
        neutral=neutral,
        undesired=undesired,
    )


def _from_csv(path: Path, *, neutral: Sequence[str] | None, undesired: bool) -> Behavior:
    poles: dict[str, list[str]] = {}
    for row in read_csv(path, columns=("text", "label")):
        index = class_of(path, row)
        if index is None:
            raise BadStatements(f"{path}, line {row.line}: no label; give negative, neutral or positive (or -1, 0, 1)")
        if not comparison_key(row.cells["text"]):
            raise BadStatements(f"{path}, line {row.line}: the text is empty; remove the row")
        poles.setdefault(CLASSES[index], []).append(row.cells["text"])
    return _behavior(
        name=path.stem,
        description=f"statements labelled in {path.name}",
        question=DEFAULT_QUESTION,
        poles=poles,
        source=path.name,
        neutral=neutral,
        undesired=undesired,
    )


def _from_hub(name: str, repository: str, file: str, *, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, file, repo_type="dataset", local_files_only=True))
    except LocalEntryNotFoundError:  # not in the cache: only now is anything asked of the network
        if offline:
            raise BadStatements(
                f"{name}: not in the local hub cache, and offline nothing is fetched; run once without offline, or "
                "give the path of a downloaded file"
            ) from None
    except Exception as error:
        raise BadStatements(
            f"{name}: not a data set name ({_one_line(error)}); give owner/data-set:file.jsonl"
        ) from error
    try:
        return Path(hf_hub_download(repository, file, repo_type="dataset"))
    except Exception as error:  # the hub's errors and its HTTP library's differ from version to version
        raise BadStatements(
            f"{name}: cannot be fetched ({type(error).__name__}: {_one_line(error)}); "
            "check the name and the connection, or give the path of a downloaded file"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _behavior(
    *,
    name: str,
    description: str,
    question: str,
    poles: Mapping[str, Sequence[str]],
    source: str,
    neutral: Sequence[str] | None,
    undesired: bool,
) -> Behavior:
    negative, positive = poles.get("negative", ()), poles.get("positive", ())
    if undesired:
        negative, positive = positive, negative
    own_neutral = neutral if neutral is not None else poles.get("neutral")
    if own_neutral is None:
        taken = {comparison_key(statement) for statement in (*negative, *positive)}
        own_neutral = tuple(s for s in neutral_statements() if comparison_key(s) not in taken)
    return Behavior(
        name=name,
        description=description,
        question=question,
        negative=without_repeats(negative),
        positive=without_repeats(positive),
        neutral=without_repeats(own_neutral),
        source=source,
    )
