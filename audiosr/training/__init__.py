"""How does a stage learn? LightningModules of the three stages, losses, EMA, callbacks, and one `train`."""
