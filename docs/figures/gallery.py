"""Pictures of the documentation site: one figure of the report of each ready spec, made smaller.

    python docs/figures/gallery.py results

takes the sweeps in `results/` that were made by `landsweep run NAME`; those that are not there keep their picture.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from landsweep import load

CHOSEN = {
    "function_minima": "counts-minimum",
    "landscape_1d": "curves-train",
    "landscape_hessian": "surface-train",
    "landscape_inputs": "predicted",
    "landscape_interpolation": "curves-train",
    "landscape_quantised": "map-test",
    "landscape_trajectory": "map-train",
    "measure_phases": "phases",
    "measure_rebasin": "profiles_loss",
    "measure_spectrum": "spectra_overlaid",
    "scaling_features": "compute",
    "scaling_markov": "compute",
    "search_digits": "history",
    "zoo_digits_hyper": "settings",
    "zoo_digits_phase": "map",
}
GALLERY = Path(__file__).resolve().parents[1] / "images/gallery"
WIDTH = 1200  # pixels
COLOURS = 64


def main(results: Path) -> None:
    """Write the picture of each spec whose sweep is there."""
    GALLERY.mkdir(exist_ok=True)
    for name, figure in CHOSEN.items():
        if not (results / name / "sweep.json").is_file():
            continue
        drawn = io.BytesIO()
        load(results / name).figures[figure].figure.savefig(drawn, format="png", dpi=200, bbox_inches="tight")
        picture = Image.open(drawn).convert("RGB")
        if picture.width > WIDTH:
            picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
        file = GALLERY / f"{name}.png"
        picture.quantize(COLOURS).save(file, optimize=True)
        sys.stdout.write(f"{file.name}: {figure}, {file.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
