"""Kinds of model files."""
