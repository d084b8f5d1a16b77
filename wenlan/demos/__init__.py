"""The two demos: BriVL and MLMM trained, evaluated and shown."""
