"""Pictures of the documentation site: one figure of the report of each ready spec, made small.

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
    "algoperf_tiny": "profiles",
    "function_minima": "counts-minimum",
    "landscape_1d": "curves-train",
    "landscape_hessian": "surface-train",
    "landscape_inputs": "predicted",
    "landscape_interpolation": "curves-train",
    "landscape_quantised": "map-test",
    "landscape_trajectory": "map-train",
    "measure_digits_phase": "disagreement_by_setting",
    "measure_phases": "phases",
    "measure_rebasin": "profiles_loss",
    "measure_sharpness_correlation": "top_against_metrics",
    "measure_spectrum": "spectra_overlaid",
    "scaling_features": "compute",
    "scaling_markov": "compute",
    "search_digits": "history",
    "zoo_digits_hyper": "settings",
    "zoo_digits_phase": "map",
    "zoo_digits_sharpness": "settings",
}
GALLERY = Path(__file__).resolve().parents[1] / "images/gallery"
WIDTH = 1200  # pixels
COLOURS = 64
LARGEST = 60_000  # bytes of a file


def main(results: Path) -> None:
    """Write the picture of each spec whose sweep is there."""
    GALLERY.mkdir(exist_ok=True)
    for name, figure in CHOSEN.items():
        if not (results / name / "sweep.json").is_file():
            continue
        drawn = io.BytesIO()
        load(results / name).figures[figure].figure.savefig(drawn, format="png", dpi=200, bbox_inches="tight")
        data = small(Image.open(drawn).convert("RGB"))
        (GALLERY / f"{name}.png").write_bytes(data)
        sys.stdout.write(f"{name}.png: {figure}, {len(data) / 1e3:.0f} kB\n")


def small(picture: Image.Image) -> bytes:
    """The picture as a file of at most `LARGEST` bytes: as wide as that allows."""
    width = min(picture.width, WIDTH)
    while True:
        scaled = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        scaled.quantize(COLOURS).save(file, format="png", optimize=True)
        if len(file.getvalue()) <= LARGEST:
            return file.getvalue()
        width = round(0.9 * width)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
