"""What a detector does wrong, from its detections and the ground truth: `refinedet analyse`.

Each module computes one thing from plain arrays, gives it as plain values for JSON, and draws it. `matching` and
`groups` are what they share.
"""
