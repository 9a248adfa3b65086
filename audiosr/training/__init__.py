"""How does a stage learn? A LightningModule per stage, losses, EMA, callbacks, and one `train`."""
