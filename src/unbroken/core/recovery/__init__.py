"""Recovery: what to do after a fault, and how an answer is continued at its seam."""
