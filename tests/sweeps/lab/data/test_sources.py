"""Data that is computed: truth tables, closed forms, determinism, and what nests in what."""

import itertools
import math
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, DataSpec, Markov, Modular, SparseParity, TeacherStudent, Text

SPECS: list[dict[str, Any]] = [
    {"source": "teacher_student", "noise": 0.1},
    {"source": "teacher_student", "task": "classification", "outputs": 3},
    {"source": "sparse_parity"},
    {"source": "modular"},
    {"source": "modular", "form": "tokens"},
    {"source": "text", "max_bytes": 5000},
    {"source": "markov"},
]


def load(spec: dict[str, Any]) -> Data:
    return TypeAdapter(DataSpec).validate_python(spec).load(Path())  # type: ignore[no-any-return]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_same_spec_same_data_whatever_the_global_state(spec: dict[str, Any]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load(spec)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = load(spec)
    other = load({**spec, "seed": 1}) if spec["source"] != "text" else load({**spec, "max_bytes": 6000})
    for name in ("train", "test"):
        assert torch.equal(first.splits[name].inputs, again.splits[name].inputs)
        assert torch.equal(first.splits[name].targets, again.splits[name].targets)
        n = min(len(first.splits[name]), len(other.splits[name]))
        a, b = first.splits[name], other.splits[name]
        assert not torch.equal(a.inputs[:n], b.inputs[:n]) or (spec["source"] == "text" and name == "train")


@pytest.mark.parametrize("source", ["teacher_student", "sparse_parity", "markov"])
def test_more_samples_begin_with_the_fewer(source: str) -> None:
    few, many = (load({"source": source, "train": n, "test": 5}) for n in (37, 150))
    assert torch.equal(few.splits["train"].inputs, many.splits["train"].inputs[:37])
    torch.testing.assert_close(few.splits["train"].targets, many.splits["train"].targets[:37], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("operation", ["add", "subtract", "multiply"])
def test_modular_tables(operation: str) -> None:
    act = {"add": int.__add__, "subtract": int.__sub__, "multiply": int.__mul__}[operation]
    p = 7
    for form in ("tokens", "one_hot"):
        data = load({"source": "modular", "modulus": p, "operation": operation, "form": form, "train_fraction": 0.4})
        assert {k: len(s) for k, s in data.splits.items()} == {"train": 20, "test": 29}
        seen = set()
        for split in data.splits.values():
            for row, target in zip(split.inputs, split.targets, strict=True):
                if form == "tokens":
                    a, b, sign = row.tolist()
                    assert sign == p
                else:
                    assert row.sum() == 2
                    a, b = int(row[:p].argmax()), int(row[p:].argmax())
                assert int(target) == act(a, b) % p
                seen.add((a, b))
        assert seen == set(itertools.product(range(p), repeat=2))
        assert (data.classes, data.outputs) == ((8, 8) if form == "tokens" else (7, 7))
    halves = [
        Modular(source="modular", modulus=p, form="tokens", train_fraction=f).load(Path()).splits["train"]
        for f in (0.2, 0.6)
    ]
    assert torch.equal(halves[0].inputs, halves[1].inputs[: len(halves[0])])


def test_parity_is_the_product_of_the_relevant_signs_alone() -> None:
    spec = SparseParity(source="sparse_parity", bits=6, relevant=3, train=2000, test=10)
    split = spec.load(Path()).splits["train"]
    assert set(split.inputs.unique().tolist()) == {-1, 1}
    assert len(spec.places()) == len(set(spec.places())) == 3
    assert torch.equal(1 - 2 * split.targets, split.inputs[:, list(spec.places())].prod(1).long())
    correlation = (split.inputs * (1 - 2 * split.targets[:, None])).mean(0)
    assert float(correlation.abs().max()) < 5 / math.sqrt(2000)  # no single bit tells anything
    assert len({tuple(row) for row in split.inputs.tolist()}) == 64


def test_teacher_is_a_perceptron_and_its_noise_has_the_deviation() -> None:
    clean, noisy = (
        TeacherStudent(source="teacher_student", noise=noise, train=4000, outputs=2).load(Path())
        for noise in (0.0, 0.3)
    )
    added = noisy.splits["train"].targets - clean.splits["train"].targets
    assert float(added.std()) == pytest.approx(0.3, rel=0.03)
    assert torch.equal(noisy.splits["test"].targets, clean.splits["test"].targets)
    assert (clean.classes, clean.outputs, clean.splits["train"].targets.shape) == (0, 2, (4000, 2))
    linear = TeacherStudent(source="teacher_student", hidden=(), features=5, train=50).load(Path()).splits["train"]
    fit = torch.linalg.lstsq(linear.inputs.double(), linear.targets.double())
    assert float((linear.inputs.double() @ fit.solution - linear.targets).abs().max()) < 1e-5
    spec = TeacherStudent(source="teacher_student", task="classification", outputs=4)
    labels = spec.load(Path()).splits["test"]
    assert torch.equal(labels.targets, spec.teach(labels.inputs).argmax(1))
    relu = TeacherStudent(source="teacher_student", hidden=(50, 50))
    x = torch.randn(7, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(relu.teach(3 * x), 3 * relu.teach(x))  # positively homogeneous: no biases


def test_entropy_of_a_markov_source() -> None:
    """Against the eigenvector, against two states by hand, and against what sequences cost under the true matrix."""
    spec = Markov(source="markov", states=6, train=3000, test=3000, context=20)
    p, pi = spec.transition(), spec.stationary()
    values, vectors = np.linalg.eig(p.T)
    oracle = vectors[:, np.argmin(abs(values - 1))].real
    np.testing.assert_allclose(pi, oracle / oracle.sum(), atol=1e-12)
    np.testing.assert_allclose(pi @ p, pi, atol=1e-12)
    wanted = -sum(pi[i] * p[i, j] * math.log(p[i, j]) for i in range(6) for j in range(6))
    assert spec.entropy_rate() == pytest.approx(wanted, rel=1e-12)
    split = spec.load(Path()).splits["train"]
    costs = -np.log(p[split.inputs.numpy(), split.targets.numpy()])
    error = costs.mean(1).std() / math.sqrt(len(costs))
    assert costs.mean() == pytest.approx(spec.entropy_rate(), abs=4 * error)
    assert costs[:, 0].mean() == pytest.approx(spec.entropy_rate(), abs=4 * costs[:, 0].std() / math.sqrt(len(costs)))
    assert torch.equal(split.inputs[:, 1:], split.targets[:, :-1])
    two = Markov(source="markov", states=2)
    (_, a), (b, _) = two.transition()
    h = [-(x * math.log(x) + (1 - x) * math.log(1 - x)) for x in (a, b)]
    assert two.entropy_rate() == pytest.approx((b * h[0] + a * h[1]) / (a + b), rel=1e-12)


def test_text_is_the_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.txt").write_bytes(b"world, again")
    (tmp_path / "a.txt").write_bytes(b"hello ")
    (tmp_path / "a.py").write_bytes(b"not this")
    spec = Text(source="text", folder=".", pattern="**/*.txt", context=4, test_fraction=0.5)
    data = spec.load(tmp_path)
    assert (data.classes, data.shape, data.kind, data.sequence) == (256, (4,), "tokens", True)
    assert [bytes(row.tolist()) for row in data.splits["train"].inputs] == [b"hell", b"o wo"]
    assert [bytes(row.tolist()) for row in data.splits["train"].targets] == [b"ello", b" wor"]
    assert [bytes(row.tolist()) for row in data.splits["test"].inputs] == [b"ld, ", b"agai"]
    one = Text(source="text", folder="a.txt", context=1, test_fraction=0.4).load(tmp_path).splits["train"]
    assert bytes(one.inputs.flatten().tolist()) == b"hel"
    assert len(spec.model_copy(update={"max_bytes": 10}).text(tmp_path)) == 10


def test_text_is_pinned_by_content_alone(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.py").write_bytes(b"x = 1\n" * 50)
    one, two = (Text(source="text", folder=f, context=8).pinned(tmp_path) for f in ("one", "two"))
    assert one.digests == two.digests
    (tmp_path / "one" / "a.py").write_bytes(b"x = 2\n" * 50)
    with pytest.raises(SpecError, match="has other text than the spec was pinned to"):
        one.load(tmp_path)
    two.load(tmp_path)


def test_default_text_is_the_standard_library() -> None:
    spec = Text(source="text", max_bytes=20_000)
    files = spec.files(Path())
    assert all(f.parent == Path(sysconfig.get_path("stdlib")) for f in files)
    assert files == sorted(files)
    text = spec.text(Path())
    assert len(text) == 20_000
    assert text.startswith(files[0].read_bytes()[:1000])
    assert spec.pinned(Path()) == spec.pinned(Path("elsewhere"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"source": "sparse_parity", "bits": 3, "relevant": 4}, "relevant must be at most bits, but 4 is more than 3"),
        ({"source": "modular", "modulus": 3, "train_fraction": 0.01}, "leaves one split empty: there are 9 pairs"),
        ({"source": "markov", "states": 1}, "greater than or equal to 2"),
        ({"source": "words"}, "'digits'.*'markov'"),
    ],
)
def test_bad_specs_say_why(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(DataSpec).validate_python(spec)


def test_bad_text_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"0123456789" * 10)
    with pytest.raises(SpecError, match=r"data.context: 64 is longer than .* 'test', 10 bytes; at most 9 fits"):
        Text(source="text", folder=".").load(tmp_path)
    with pytest.raises(SpecError, match=r"data.folder: .*nowhere is no file and has no files '\*\*/\*.py'"):
        Text(source="text", folder="nowhere").load(tmp_path)
