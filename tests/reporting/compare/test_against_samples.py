"""The numbers of the committed record, computed again from its samples by other means."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from robusteval.reporting.compare import Comparison, Pool, compare
from robusteval.reporting.compare.grids import long

FOLDER = Path(__file__).parents[3] / "reports" / "fashion-mnist"
CORRUPTED = ["gaussian-noise@3", "contrast@3", "fog@3"]


def ece(frame: pd.DataFrame) -> float:
    bins = pd.cut(frame["confidence"], np.linspace(0, 1, 16))
    gaps = (frame["correct"] - frame["confidence"]).groupby(bins, observed=True).sum().abs()
    return float(gaps.sum() / len(frame))


def scaled(cell: str) -> pd.DataFrame:
    """The samples of a cell after the temperatures that the record names, each of one half."""
    frame = pd.read_parquet(FOLDER / "samples" / f"{cell}.parquet", columns=["sample", "label", "logits"])
    maps = pd.read_parquet(FOLDER / "recalibration.parquet").query("cell == @cell").set_index("half")["value"]
    halves = pd.read_parquet(FOLDER / "halves.parquet").set_index("sample")["half"]
    logits = np.stack(frame["logits"].tolist()).astype(np.float64)
    chances = special.softmax(logits / frame["sample"].map(halves).map(maps).to_numpy(np.float64)[:, None], axis=1)
    return frame.assign(confidence=chances.max(axis=1), correct=chances.argmax(axis=1) == frame["label"])


@pytest.fixture(scope="module")
def record() -> pd.DataFrame:
    """One row per checkpoint, straight from the sample files."""
    cells = pd.read_parquet(FOLDER / "cells.parquet")
    variants = pd.read_parquet(FOLDER / "metrics.parquet", columns=["model", "variant"]).drop_duplicates()
    rows = dict[str, dict[str, float]]()
    for cell in cells.itertuples():
        names = ["sample", "gamma"] if cell.view == "linearity" else ["sample", "correct", "confidence"]
        frame = pd.read_parquet(FOLDER / "samples" / f"{cell.cell}.parquet", columns=names)
        row = rows.setdefault(str(cell.model), {})
        row[str(cell.view)] = frame.mean()["gamma" if cell.view == "linearity" else "correct"]
        if cell.view == "clean":
            row["ece"], row["ece after temperature"] = ece(frame), ece(scaled(str(cell.cell)))
    table = pd.DataFrame(rows).T.rename(columns={"linearity": "gamma"})
    table["mean of 3 corrupted"] = table[CORRUPTED].mean(axis=1)
    return table.join(variants.set_index("model"))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(Pool.read([FOLDER]), baseline="erm")


@pytest.fixture(scope="module")
def shown(comparison: Comparison) -> pd.DataFrame:
    return long(comparison).set_index(["row", "column"])


def test_every_mean_and_spread(record: pd.DataFrame, shown: pd.DataFrame) -> None:
    columns = list(shown.index.unique("column"))
    assert columns == [
        *("clean", "fgsm(eps=8/255)", "pgd(eps=8/255, steps=10)", "mean of 3 corrupted"),
        *("ece", "ece after temperature", "gamma"),
    ]
    by = record.groupby("variant")[columns]
    wanted = {"value": by.mean(), "spread": by.std(), "seeds": by.count()}
    assert set(shown.index.unique("row")) == set(record["variant"])
    for name, table in wanted.items():
        found = shown[name].astype(float).unstack("column")
        np.testing.assert_allclose(found.loc[table.index, columns], table, atol=1e-9)


def test_differences_over_seeds_are_welchs(record: pd.DataFrame, shown: pd.DataFrame) -> None:
    for (variant, column), row in shown.query("test == 'Welch over seeds'").iterrows():
        sides = [record.loc[record["variant"].eq(name), column].astype(float) for name in (variant, "erm")]
        known = stats.ttest_ind(*sides, equal_var=False)
        interval = known.confidence_interval(0.95)
        wanted = [sides[0].mean() - sides[1].mean(), interval.low, interval.high, known.pvalue]
        assert row[["difference", "difference_low", "difference_high", "p"]].tolist() == pytest.approx(wanted, abs=1e-9)
    assert set(shown.query("test == 'Welch over seeds'").index.unique("row")) == {
        *("genlabel", "kmixup", "local", "midpoint", "mixup", "varmixup")
    }


def test_a_difference_of_one_seed_is_near_the_paired_t_test(shown: pd.DataFrame) -> None:
    """The bootstrap's p-value of a mean is that of a t-test on the differences of the samples."""
    cells = pd.read_parquet(FOLDER / "cells.parquet").query("view == 'fgsm(eps=8/255)'").set_index("model")["cell"]
    right = pd.DataFrame(
        {model: pd.read_parquet(FOLDER / f"samples/{cell}.parquet")["correct"] for model, cell in cells.items()}
    ).astype(float)
    erm = right[[f"erm-seed{seed}" for seed in range(3)]].mean(axis=1)
    for variant in ("cutmix", "regmixup", "label-smoothing"):
        known = stats.ttest_rel(right[f"{variant}-seed0"], erm)
        row = shown.loc[(variant, "fgsm(eps=8/255)")]
        assert row["test"] == "paired bootstrap"
        assert row["difference"] == pytest.approx((right[f"{variant}-seed0"] - erm).mean())
        assert stats.norm.isf(row["p"] / 2) == pytest.approx(abs(known.statistic), rel=0.08)


def test_checkpoints_are_compared_by_mcnemar_and_holm(comparison: Comparison) -> None:
    found = long(compare(comparison.pool, ["clean"], by="checkpoint", baseline="erm-seed0")).set_index("row")
    cells = pd.read_parquet(FOLDER / "cells.parquet").query("view == 'clean'").set_index("model")["cell"]
    right = {m: pd.read_parquet(FOLDER / f"samples/{cell}.parquet")["correct"] for m, cell in cells.items()}
    others = [model for model in right if model != "erm-seed0"]
    pairs = [(int((right[m] & ~right["erm-seed0"]).sum()), int((~right[m] & right["erm-seed0"]).sum())) for m in others]
    p = np.array([stats.binomtest(won, won + lost).pvalue for won, lost in pairs])
    np.testing.assert_allclose(found.loc[others, "p"].astype(float), p, rtol=1e-9)
    np.testing.assert_allclose(
        found.loc[others, "difference"].astype(float), [(a - b) / 1000 for a, b in pairs], atol=1e-12
    )
    order, adjusted, least = np.argsort(p), np.empty(len(p)), 0.0
    for rank, place in enumerate(order):
        least = adjusted[place] = min(1.0, max(least, p[place] * (len(p) - rank)))
    np.testing.assert_allclose(found.loc[others, "p_holm"].astype(float), adjusted, rtol=1e-9)
    assert found.loc["erm-seed0", "test"] != "exact McNemar"
