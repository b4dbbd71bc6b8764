"""Pretraining of a student on annotated photographs (paper §3.2); the command is `pretrain.py`."""
