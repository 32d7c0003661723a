"""Figures, films, and the page of a run."""
