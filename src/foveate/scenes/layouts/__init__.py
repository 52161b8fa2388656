"""Readers of annotation files, one for each layout, and what they share.

They rest on the standard library, defusedxml and PyYAML. Readers of others were looked at: supervision takes 0.7 s to
import and datumaro 0.4 s, each with hundreds of megabytes of dependencies, and both open pictures by themselves; of
pycocotools, masks are the only part that is needed, and they are forty lines.
"""
