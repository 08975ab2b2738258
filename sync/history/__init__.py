"""How history stays bounded: checkpoints, snapshots, tombstones, members."""
