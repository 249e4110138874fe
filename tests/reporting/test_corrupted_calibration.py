"""Calibration over corruptions: the means that `corruptions.csv` has beside those of accuracy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robusteval.metrics import Predictions, estimate_mean
from robusteval.reporting import corruptions
from robusteval.reporting.corruptions import DEFINITIONS, Kind, expected
from robusteval.results.schema import metric_frame, prediction_frame
from robusteval.results.store import Facts, Store

EXTRA = expected(Kind("generated", False, "extra", None))
N = 50


@pytest.fixture
def report(tmp_path):
    """A report of these views of a model, random predictions with another sample in each second view."""

    def written(views: list[str]) -> tuple[Store, pd.DataFrame, dict[str, Predictions]]:
        store, made, cells = Store.opened(tmp_path / "r", {"seed": 3}), {}, []
        for number, view in enumerate(views):
            rng = np.random.default_rng(number)
            samples, labels = np.arange(N + number % 2), rng.integers(0, 3, N + number % 2)
            made[view] = Predictions.from_logits(rng.normal(size=(len(labels), 3)).astype(np.float32), labels, samples)
            key = f"{number:064x}"[::-1]
            store.write_shard(key, 0, prediction_frame(made[view]), Facts())
            store.finish(key, 1)
            cells.append({"cell": key[:16], "model": "m", "view": view})
        store.write_table("cells", pd.DataFrame(cells))
        rows = [{"model": "m", "view": view, "kind": "corruption", "origin": "generated"} for view in views]
        store.write_table("metrics", metric_frame([{**row, "metric": "accuracy", "value": 0.5} for row in rows]))
        return store, store.read_metrics(), made

    return written


def first(predictions: Predictions) -> Predictions:
    """Those of the samples that every view has."""
    logits = predictions.logits
    assert logits is not None
    return Predictions.from_logits(logits[:N], predictions.labels[:N], predictions.samples[:N])


def test_the_mean_is_over_all_views_of_the_set(report):
    store, metrics, made = report(EXTRA)
    found = corruptions.write(store.folder, metrics)
    assert found is not None
    rows = found[found["score"].str.startswith("mean ")].set_index("score")
    assert list(rows.index) == ["mean ece", "mean nll", "mean brier"]
    for name in ("ece", "nll", "brier"):
        row = rows.loc[f"mean {name}"]
        assert (row["model"], row["set"], row["of"], row["n"]) == ("m", "extra", "all", N)
        assert row["definition"] == DEFINITIONS[f"mean {name}"]
        expected = estimate_mean(name, [first(made[view]) for view in EXTRA], seed=3)
        assert tuple(row[["value", "low", "high"]]) == pytest.approx(tuple(expected))
    again = pd.read_csv(Path(store.folder) / "corruptions.csv")
    assert again["score"].tolist() == found["score"].tolist()


def test_a_mean_of_which_views_are_missing_has_no_value_and_says_so(report):
    store, metrics, _ = report(EXTRA[:-2])
    found = corruptions.calibration(metrics, store)
    assert found["value"].isna().all()
    assert found["missing"].tolist() == [", ".join(EXTRA[-2:])] * 3
