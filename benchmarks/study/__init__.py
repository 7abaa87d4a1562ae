"""What the papers claim, measured at a size that two cores can train: ablations, peers, amounts of data, vectors."""
