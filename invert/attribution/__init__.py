"""Which generator made a picture: evidence → calibrated score → verdict."""
