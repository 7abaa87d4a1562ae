"""The rules of the four papers and of their released code once more, in plain Python over float64: nothing is imported
from the package that they judge, and nothing is made fast. Boxes are lists (x1, y1, x2, y2)."""
