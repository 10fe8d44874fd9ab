"""What a person tells the daemon to record: dismissed rejections and shipments."""
