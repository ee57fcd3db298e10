"""The bodies, one module a dialect; `make.py` writes them out."""
