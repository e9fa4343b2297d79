"""The model in use: a web page (python -m app) and the export for phones (python -m app.export)."""
