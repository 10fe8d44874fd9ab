"""Which drives are here, which one a deviceId means, and SIGNATURE in a drive's root."""
