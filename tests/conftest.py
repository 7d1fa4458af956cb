"""Shapes and types in signatures are checked at run time here, and only here."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

install_import_hook("thaw", "beartype.beartype")
