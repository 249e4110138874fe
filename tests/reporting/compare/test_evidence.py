"""Samples that do not belong together are not compared, and those of a second data set do no harm."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from robusteval.core.errors import RecordError
from robusteval.reporting.compare.columns import Column
from robusteval.reporting.compare.evidence import Evidence
from robusteval.reporting.compare.pool import Pool
from robusteval.results import files


def frame(samples):
    return pd.DataFrame({"sample": samples, "correct": np.arange(len(samples)) % 3 > 0})


@pytest.mark.parametrize("other", [range(40), range(5, 65)])
def test_views_of_other_samples_have_nothing_to_resample_together(other):
    frames = {"fog@3": frame(range(60)), "contrast@3": frame(other)}
    evidence = Evidence(SimpleNamespace(samples=lambda model, view, logits=False: frames[view], seed=0))
    both = Column("mean of 2 corrupted", ("fog@3", "contrast@3"), "accuracy")
    assert evidence.drawn("net", both) is None
    frames["contrast@3"] = frame(range(60))
    assert Evidence(evidence.pool).drawn("net", both).value == pytest.approx(2 / 3)


def test_rows_of_a_second_data_set_are_not_counted_among_the_samples(make_report, tmp_path: Path):
    folder = make_report(tmp_path / "report", n=40)
    cells = pd.read_parquet(folder / "cells.parquet").query("view == 'linearity'")
    more = {"sample": np.arange(25) + 2**40, "label": -1, "gamma": 0.0}
    for cell in cells["cell"]:
        path = folder / "samples" / f"{cell}.parquet"
        own, facts = files.read_frame(path)
        files.write_frame(path, pd.concat([own, pd.DataFrame(more)], ignore_index=True), facts)
    pool = Pool.read([folder])
    assert [len(pool.samples(model, "linearity")) for model in cells["model"]] == [65] * len(cells)
    path = folder / "samples" / f"{cells['cell'].iloc[0]}.parquet"
    own, facts = files.read_frame(path)
    files.write_frame(path, own.iloc[1:], facts)
    with pytest.raises(RecordError, match="are not those of the other models"):
        Pool.read([folder]).samples(cells["model"].iloc[0], "linearity")
