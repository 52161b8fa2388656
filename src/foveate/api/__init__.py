"""What `import foveate` offers beside the classes: the commands as functions, with the same figures."""
