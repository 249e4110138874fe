"""Baseline files: what the gate needs of a report, in one small file that a repository can keep.

One Parquet file, a row for each model and view: `correct` as bits, `confidence` and `nll` as float16, and every number
of the record with its interval. A digest over all of it is checked when the file is read.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval import __version__
from robusteval.core.errors import InputError, RecordError
from robusteval.core.types import Estimate
from robusteval.gate.sides import Entry, Rows, Side, half, thin_predictions
from robusteval.results import files

FORMAT = 1
KIND = "robusteval baseline"
SUFFIX = ".parquet"

TEXTS = ("model", "view", "data", "grade", "flags", "terms", "estimates")
BYTES = ("samples", "correct", "confidence", "nll")


def write(path: Path, side: Side) -> int:
    """Write a side as a baseline file.

    Returns:
        Its size in bytes.

    Raises:
        InputError: a view failed, or a number is nan: what is not whole is no baseline.
        RecordError: the place cannot be written.
    """
    frame = pd.DataFrame([_row(side, entry) for entry in side.entries], columns=["n", *TEXTS, *BYTES])
    facts = {"kind": KIND, "format": FORMAT, "seed": side.seed, "suite": side.suite, "robusteval": __version__}
    files.write_frame(path, frame, {**facts, "digest": _digest(frame, facts)})
    return path.stat().st_size


def read(path: Path) -> Side:
    """A baseline file as a side.

    Raises:
        RecordError: it is missing, damaged, something else, or of another format version.
    """
    frame, facts = _checked(path)
    entries = tuple(_entry(row) for _, row in frame.iterrows())
    return Side(str(path), int(facts["seed"]), str(facts["suite"]), entries, halved=True)


def _checked(path: Path) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """The frame and the facts of a file that is whole."""
    advice = "write it again with robusteval check REPORT --against FILE --update"
    if not path.is_file():
        raise RecordError(f"against={str(path)!r}: there is no such baseline; {advice}")
    try:
        frame, facts = files.read_frame(path)
    except RecordError:
        raise RecordError(f"{path} is damaged, or no baseline file; {advice}") from None
    if facts.get("kind") != KIND:
        raise RecordError(f"{path} is no baseline file; {advice}")
    version = facts.get("format")
    if version != FORMAT:
        raise RecordError(f"{path} has baseline format {version}, this robusteval reads {FORMAT}; {advice}")
    claimed = {name: value for name, value in facts.items() if name != "digest"}
    if list(frame.columns) != ["n", *TEXTS, *BYTES] or facts.get("digest") != _digest(frame, claimed):
        raise RecordError(f"{path} is damaged: its digest is not that of its content; {advice}")
    return frame, facts


def _digest(frame: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for row in frame.itertuples(index=False):
        for value in row:
            part = value if isinstance(value, bytes) else str(value).encode()
            found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


def _row(side: Side, entry: Entry) -> dict[str, Any]:
    if entry.failure:
        raise InputError(f"{side.name}: {entry.model}, {entry.view} failed ({entry.failure}): no baseline without it")
    lost = [name for name, found in entry.estimates.items() if np.isnan(found.value)]
    if lost:
        raise InputError(f"{side.name}: {lost[0]} of {entry.model}, {entry.view} is nan: that is no baseline")
    rows = entry.read(["accuracy"])
    thin = rows.predictions
    return {
        "n": entry.n,
        "model": entry.model,
        "view": entry.view,
        "data": entry.data,
        "grade": entry.grade or "",
        "flags": entry.flags,
        "terms": json.dumps(dict(entry.terms), sort_keys=True),
        "estimates": json.dumps({name: list(found) for name, found in entry.estimates.items()}),
        # Steps between ids are nearly all 1, which compresses to nothing.
        "samples": np.diff(rows.samples, prepend=0).astype("<i8").tobytes(),
        "correct": b"" if rows.correct is None else np.packbits(rows.correct).tobytes(),
        "confidence": b"" if thin is None else _halves(thin.confidence),
        "nll": b"" if thin is None else _halves(thin.nll),
    }


def _entry(row: "pd.Series[Any]") -> Entry:
    return Entry(
        model=str(row["model"]),
        view=str(row["view"]),
        n=int(row["n"]),
        data=str(row["data"]),
        estimates={name: Estimate(*found) for name, found in json.loads(row["estimates"]).items()},
        read=_reader(row),
        grade=str(row["grade"]) or None,
        flags=str(row["flags"]),
        terms=json.loads(row["terms"]),
    )


def _reader(row: "pd.Series[Any]") -> Callable[[Sequence[str]], Rows]:
    def read(metrics: Sequence[str]) -> Rows:
        samples = np.cumsum(np.frombuffer(row["samples"], "<i8")).astype(np.int64)
        if not row["correct"]:
            return Rows(samples, thin=True)
        correct = np.unpackbits(np.frombuffer(row["correct"], np.uint8), count=int(row["n"])).astype(bool)
        if not row["confidence"]:
            return Rows(samples, correct, thin=True)
        confidence, nll = (_floats(row[name]) for name in ("confidence", "nll"))
        return Rows(samples, correct, thin_predictions(samples, correct, confidence, nll), thin=True)

    return read


def _halves(values: NDArray[np.float64]) -> bytes:
    """Float16, all high bytes before all low ones: the high ones are alike, and compress."""
    return half(values).astype("<f2").view(np.uint8).reshape(-1, 2)[:, ::-1].T.tobytes()


def _floats(content: bytes) -> NDArray[np.float64]:
    pairs = np.frombuffer(content, np.uint8).reshape(2, -1).T[:, ::-1]
    return np.ascontiguousarray(pairs).view("<f2")[:, 0].astype(np.float64)
