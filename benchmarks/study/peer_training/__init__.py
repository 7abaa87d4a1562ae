"""One training of one contestant, in a process of its own and in the Python that has its library.

`vision` and `yolo` import torch, torchvision and ultralytics, and nothing of this repository but the modules of this
folder that need none of it.
"""
