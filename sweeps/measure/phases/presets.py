"""Rules of papers. Their phases are the papers'; where a paper gives no number, the threshold is ours and says so."""

from __future__ import annotations

from pathlib import Path

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.reading import load_yaml
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.measure.phases.rules import Phase, PhaseRules, Quantity, Threshold

__all__ = ["PRESETS", "rules_named"]

_LOAD = Quantity(
    doc="size of the network against the data: a smaller width is a higher load",
    columns=("load", "width", "net.width", "net.hidden.0", "model_width", "para_amount", "density"),
)
_TEMPERATURE = Quantity(
    doc="noise of the training: a higher learning rate or a smaller batch is a higher temperature",
    columns=("temperature", "optimizer.learning_rate", "learning_rate", "lr", "batch_size", "bs", "training_batchsize"),
)
_LOSS = Quantity(doc="training loss", columns=("train_loss", "of_train_loss"))
_SHARPNESS = Quantity(
    doc="largest eigenvalue of the Hessian of the training loss",
    columns=("sharpness", "eigenvalue_1", "exp(hessian_e)"),
)
_CONNECTIVITY = Quantity(
    doc="(e(0) + e(1)) / 2 - e(t) of the training error in %, at the t of a curve between two seeds where e(t) is "
    "furthest from the mean of the ends: below 0 is a barrier, above 0 are ends that are not yet low",
    columns=("connectivity", "100 * curve_connectivity", "mode_connectivity"),
)
_SIMILARITY = Quantity(doc="CKA of the outputs of two seeds", columns=("similarity", "cka_last", "cka", "CKA"))

_SHARP = Threshold(value=10.0, doc="largest eigenvalue of the Hessian from which a minimum counts as sharp")
_BARRIER = Threshold(value=-1.0, doc="connectivity, in % of error, below which two seeds count as poorly connected")
_SIMILAR = Threshold(value=0.7, doc="CKA from which two seeds count as similar")
_UNDERFIT = Threshold(value=0.1, doc="training loss above which a network counts as underfitted")

_AXES = {"load": _LOAD, "temperature": _TEMPERATURE}

_TAXONOMY = PhaseRules(
    name="taxonomy",
    version=1,
    source="Yang et al. 2021, arXiv 2107.11228; it gives the phases in words, without numbers",
    **_AXES,
    quantities={
        "sharpness": _SHARPNESS, "connectivity": _CONNECTIVITY, "similarity": _SIMILARITY, "loss": _LOSS,
    },
    thresholds={"sharp": _SHARP, "barrier": _BARRIER, "similar": _SIMILAR},
    phases=(
        Phase(label="I", when="sharpness >= {sharp} and connectivity < {barrier}", doc="sharp, poorly connected"),
        Phase(label="II", when="sharpness >= {sharp} and connectivity >= {barrier}", doc="sharp, well connected"),
        Phase(label="III", when="sharpness < {sharp} and connectivity < {barrier}", doc="flat, poorly connected"),
        Phase(
            label="IV-A",
            when="sharpness < {sharp} and connectivity >= {barrier} and similarity < {similar}",
            doc="flat, well connected, not similar",
        ),
        Phase(
            label="IV-B",
            when="sharpness < {sharp} and connectivity >= {barrier} and similarity >= {similar}",
            doc="flat, well connected, similar",
        ),
    ),
)  # fmt: skip

_TAXONOMY_UNDERFIT = _TAXONOMY.model_copy(
    update={
        "name": "taxonomy_underfit",
        "source": f"{_TAXONOMY.source}; that underfitted cells stand apart is ours",
        "thresholds": {**_TAXONOMY.thresholds, "underfit": _UNDERFIT},
        "phases": (
            Phase(label="U", when="loss > {underfit}", doc="underfitted, whatever else it is"),
            *_TAXONOMY.phases,
        ),
    }
)

_PHASE_ZOO = PhaseRules(
    name="phase_zoo",
    version=1,
    source="model zoo on phase transitions, arXiv 2504.18072, table of phases; it gives no numbers",
    **_AXES,
    quantities={
        "loss": _LOSS, "connectivity": _CONNECTIVITY, "similarity": _SIMILARITY, "sharpness": _SHARPNESS,
    },
    thresholds={"underfit": _UNDERFIT, "barrier": _BARRIER, "similar": _SIMILAR},
    phases=(
        Phase(label="I", when="loss > {underfit} and connectivity < {barrier}", doc="high loss, barrier"),
        Phase(label="II", when="loss > {underfit} and connectivity >= {barrier}", doc="high loss, no barrier"),
        Phase(label="III", when="loss <= {underfit} and connectivity < {barrier}", doc="low loss, barrier"),
        Phase(
            label="IV-A",
            when="loss <= {underfit} and connectivity >= {barrier} and similarity < {similar}",
            doc="low loss, no barrier, not similar",
        ),
        Phase(
            label="IV-B",
            when="loss <= {underfit} and connectivity >= {barrier} and similarity >= {similar}",
            doc="low loss, no barrier, similar",
        ),
    ),
)  # fmt: skip

_THREE_REGIMES = PhaseRules(
    name="three_regimes",
    version=1,
    source="three regimes of pruning, arXiv 2305.18383; names and numbers ours",
    **_AXES,
    quantities={
        "connectivity": _CONNECTIVITY, "similarity": _SIMILARITY, "loss": _LOSS,
    },
    thresholds={"barrier": _BARRIER, "similar": _SIMILAR},
    phases=(
        Phase(label="I", when="connectivity < {barrier}", doc="poorly connected"),
        Phase(label="II-A", when="connectivity >= {barrier} and similarity < {similar}", doc="connected, not similar"),
        Phase(label="II-B", when="connectivity >= {barrier} and similarity >= {similar}", doc="connected, similar"),
    ),
)  # fmt: skip

PRESETS: dict[str, PhaseRules] = {
    rules.name: rules for rules in (_TAXONOMY, _TAXONOMY_UNDERFIT, _PHASE_ZOO, _THREE_REGIMES)
}
"""Rules by name."""


def rules_named(name: str) -> PhaseRules:
    """A preset, or the rules of a YAML file.

    Raises:
        UsageError: there is neither; SpecError, where the file holds no rules.
    """
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise UsageError(f"--rules {name}: give one of {', '.join(PRESETS)}, or a YAML file of your own rules")
    return parse(PhaseRules, load_yaml(path.read_text(encoding="utf-8"), name), name)
