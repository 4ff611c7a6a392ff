"""Feature extractors that encoders stand on."""
