"""The passes that can be timed. No imports: the command line needs them before anything else is loaded."""

PASSES = {
    "forward": "forward pass",
    "input": "input gradient",
    "weight": "weight gradient",
    "transposed": "transposed convolution",
}
"""What `--pass` takes, and how tables call it."""

GRADIENTS = ("input", "weight")
