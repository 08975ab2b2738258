"""The rooftop farm: rules that water it, experiments, the grow log, and their charts."""
