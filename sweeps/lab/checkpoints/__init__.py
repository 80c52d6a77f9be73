"""Files of weights: stacked ones that this project writes, and state dicts from anywhere."""
