"""Many manifests at once: made from a list, checked, dropped, and waited for."""
