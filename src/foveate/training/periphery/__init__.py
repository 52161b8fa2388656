"""Training of the periphery: what it is shown, what it is to answer, its loss, and the loop."""
