"""In people's hands: the web page (python -m app) and the model for the phone."""
