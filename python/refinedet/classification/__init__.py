"""Training the backbones of detectors as classifiers: `refinedet pretrain`.

The options of a run stand in `config`, which needs neither torch nor Lightning.
"""
