"""The folders pending/, prepared/ and rejected/, and how files move through them."""
