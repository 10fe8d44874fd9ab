"""What a manifest must hold, and the text that is sent to the service."""
