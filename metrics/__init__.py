"""From `(y_true, y_prob)` to metrics, confidence intervals, plots and a report."""

# What `evaluate.py` writes, and the notice under all results.
METRICS_FILE = "metrics.json"
NOTICE = "For research and teaching only; not a medical device, not medical advice."
