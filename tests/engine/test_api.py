import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import robusteval
from robusteval.core.errors import DataError, InputError, RecordError, RobustevalError, SpecError
from robusteval.engine.api import Data, Model
from robusteval.engine.suite import Group, Suite
from robusteval.models.checkpoint import load
from robusteval.results.report import Report
from robusteval.results.schema import METRIC_COLUMNS

VIEWS = ("clean", "fgsm(eps=8/255)", "fog@3", "linearity(steps=2)")
SPEC = "fgsm(eps=8/255)"
SUITE = Suite(name="tiny", samples=48, views=(Group(specs=VIEWS),))


def images(n: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % 10


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(288, 10)
    )


def loader() -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(TensorDataset(*images()), batch_size=10)


def sums(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :10] * 5


@pytest.fixture(scope="module")
def report() -> Report:
    return robusteval.evaluate(network(), images(), SUITE)


@pytest.mark.parametrize("model", [network(), sums], ids=["module", "function"])
@pytest.mark.parametrize("data", [images(), loader(), "digits"], ids=["pair", "loader", "spec"])
def test_models_and_data_in_memory(model: Model, data: Data) -> None:
    found = robusteval.evaluate(model, data, SUITE)
    assert found.failures.empty
    assert list(dict.fromkeys(found.metrics["view"])) == list(VIEWS)
    assert found.samples.groupby("view").size().to_dict() == dict.fromkeys(VIEWS, 48)


def test_pair_and_loader_agree(report: Report) -> None:
    pd.testing.assert_frame_equal(robusteval.evaluate(network(), loader(), SUITE).metrics, report.metrics)


def test_a_checkpoint_by_its_path_and_a_data_spec(home: Path) -> None:
    path = home / "erm-seed0.safetensors"
    suite = Suite(name="tiny", samples=48, views=(Group(specs=("clean",)),))
    by_card, by_spec = (
        robusteval.evaluate(path, suite=suite),
        robusteval.evaluate(str(path), load(path).card.data, suite),
    )
    pd.testing.assert_frame_equal(by_card.metrics, by_spec.metrics)
    assert by_card.metrics[["model", "variant", "train_seed"]].iloc[0].tolist() == ["erm-seed0", "erm", 0]
    few = robusteval.evaluate(path, (torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 1])), suite)
    assert few.metrics["n"].tolist() == [3] * len(few.metrics), "data in memory know only the classes they hold"


def test_the_model_is_left_as_it_was() -> None:
    model = network().train()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = copy.deepcopy(model.state_dict())
    robusteval.evaluate(model, images(), SUITE)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert model[-1].weight.grad is None
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_frames_have_the_columns_and_types_of_the_record(report: Report, tmp_path: Path) -> None:
    assert list(report.metrics.columns) == list(METRIC_COLUMNS)
    assert {name: str(kind) for name, kind in report.metrics.dtypes.items()} == METRIC_COLUMNS
    columns = ["cell", "model", "view", "n", "digest", "data", "weights", "notes", "by", "versions"]
    assert list(report.cells.columns) == columns
    assert list(report.samples.columns[:4]) == ["model", "view", "sample", "label"]
    kinds = report.samples.dtypes.astype(str)
    wanted = {"sample": "int64", "label": "int64", "prediction": "Int64", "correct": "boolean", "nll": "float64"}
    assert kinds[list(wanted)].to_dict() == wanted


def test_metrics_follow_from_samples(report: Report) -> None:
    values = report.metrics.set_index(["view", "metric"])["value"]
    for view, rows in report.samples[report.samples["prediction"].notna()].groupby("view"):
        logits = np.stack(rows["logits"].to_numpy()).astype(np.float64)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        label, hit = rows["label"].to_numpy(), p.argmax(axis=1) == rows["label"].to_numpy()
        bins = np.ceil(p.max(axis=1) * 15).astype(int)
        gaps = [abs((p.max(axis=1) - hit)[bins == number].sum()) for number in range(1, 16)]
        own = p[np.arange(len(p)), label]
        expected = {
            "accuracy": hit.mean(),
            "nll": -np.log(own).mean(),
            "brier": (p**2).sum(axis=1).mean() - 2 * own.mean() + 1,
            "ece": sum(gaps) / len(p),
        }
        assert values[view][list(expected)].to_dict() == pytest.approx(expected, abs=1e-9)
    gamma = report.samples[report.samples["view"].eq("linearity(steps=2)")]["gamma"]
    assert values["linearity(steps=2)", "gamma"] == pytest.approx(gamma.mean())
    assert (report.metrics["low"] <= report.metrics["value"]).all()
    assert (report.metrics["value"] <= report.metrics["high"]).all()


def test_a_report_folder_is_kept_and_never_mistaken_for_another_models(tmp_path: Path) -> None:
    first = robusteval.evaluate(network(), images(), SUITE, out=tmp_path / "report")
    pd.testing.assert_frame_equal(robusteval.Report.read(tmp_path / "report").metrics, first.metrics)
    with pytest.raises(RecordError, match="a model in memory cannot be known again"):
        robusteval.evaluate(network(), images(), SUITE, out=tmp_path / "report")


def test_nothing_is_left_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    robusteval.evaluate(sums, images(), SUITE, samples=8)
    assert list(tmp_path.iterdir()) == []


def test_failed_cells_warn_where_evaluate_is_called() -> None:
    def broken(x: Tensor) -> Tensor:
        return sums(x) * torch.where(x.mean() > 0, torch.nan, 1.0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = robusteval.evaluate(broken, images(), SUITE)
    assert len(found.failures) == len(caught) == len(VIEWS)
    assert {Path(line.filename).name for line in caught} == {"test_api.py"}


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: robusteval.evaluate(sums), InputError, "a model in memory needs data"),
        (lambda: robusteval.evaluate(sums, 3), InputError, "must be a spec, a pair"),  # type: ignore[arg-type]
        (lambda: robusteval.evaluate(sums, "digit"), SpecError, "did you mean 'digits'"),
        (lambda: robusteval.evaluate(sums, images(), "quik"), InputError, "did you mean 'quick'"),
        (lambda: robusteval.evaluate(sums, images(), SUITE, samples=0), InputError, "samples=0: must be at least 1"),
        (lambda: robusteval.evaluate(sums, images(), SUITE, device="gpu"), InputError, "must be auto, cpu or cuda"),
        (lambda: robusteval.evaluate(sums, (images()[0] * 255, images()[1]), SUITE), InputError, "divide by 255"),
        (lambda: robusteval.evaluate(sums, (images()[0], images()[1] + 5), SUITE), InputError, "k at least 15"),
        (lambda: robusteval.evaluate(sums, (images()[0][:0], images()[1][:0]), SUITE), DataError, "empty"),
        (lambda: robusteval.evaluate(sums, (images()[0], images()[1][:9]), SUITE), InputError, "labels"),
        (
            lambda: robusteval.evaluate(sums, DataLoader(TensorDataset(*images()), shuffle=True), SUITE),
            InputError,
            "shuffle=False",
        ),
        (lambda: robusteval.evaluate("nothing.pth", images(), SUITE), RobustevalError, "nothing.pth cannot be read"),
        (lambda: robusteval.attack(sums, *images(), "pdg(eps=8/255)"), SpecError, "did you mean 'pgd'"),
        (lambda: robusteval.attack(sums, images()[0], images()[1] + 5, SPEC), InputError, "k at least 15"),
        (lambda: robusteval.attack(sums, *images(), SPEC, ids=torch.zeros(64)), InputError, "ids"),
        (lambda: robusteval.attack(sums, *images(), SPEC, ids=torch.arange(3)), InputError, "ids"),
        (lambda: robusteval.attack(lambda x: sums(x) * torch.nan, *images(), SPEC), InputError, "must be finite"),
        (lambda: robusteval.attack(lambda x: x, *images(), SPEC), InputError, "must answer"),
        (lambda: robusteval.evaluate(None, images(), SUITE), InputError, "must be a path, a module or a function"),
        (lambda: robusteval.evaluate(sums, images(), SUITE, samples="10"), InputError, "samples='10'"),
        (lambda: robusteval.evaluate(sums, images(), SUITE, samples=True), InputError, "samples=True"),
        (lambda: robusteval.evaluate(sums, images(), SUITE, mean=(0.5,)), InputError, "is for a checkpoint's file"),
    ],
)
def test_bad_input(call: Callable[[], object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_attack_answers_with_its_cost_and_its_verdicts() -> None:
    model, (x, y) = network().eval(), images()
    outcome = robusteval.attack(model, x, y, "pgd(eps=16/255, steps=3)")
    assert isinstance(outcome, robusteval.AttackOutcome)
    assert torch.equal(outcome.broken, model(outcome.inputs).argmax(dim=1) != y)
    assert (outcome.inputs - x).abs().max() <= 16 / 255 + 1e-7
    assert outcome.forwards >= len(x) + outcome.backwards
    assert outcome.backwards >= 0
    assert outcome.flags == ()
