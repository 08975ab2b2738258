"""Device profiles: what each model is and how it speaks, as data."""
