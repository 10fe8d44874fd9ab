"""YAML texts with positions, typed fields, and the faults found in them."""
