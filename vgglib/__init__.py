"""The VGG paper (Simonyan & Zisserman 2014) as a small plain-PyTorch module: one idea per file.

Nothing is imported here, so that ``python -m vgglib doctor`` can say what is missing.
"""

__version__ = "0.1.0"
