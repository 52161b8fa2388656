"""A page on one's own machine to try a RUN on one's own images."""
