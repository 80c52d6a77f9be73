"""What the kinds share: data, networks, optimizers, recipes, training, weight space, trained models read back."""
