"""Training of encoders: configuration, what a batch is, losses, one visible loop."""
